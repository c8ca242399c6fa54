"""The fusions that are tried on validation. `bucketed` is not among them: it is made of what `uniform` gives each bucket."""

from itertools import product

from longtail.aggregation.formulas import Utility
from longtail.aggregation.kinds import ALONE, Fusion, Inject, Paper, Uniform

UTILITIES: tuple[Utility, ...] = ("rank", "score")
WEIGHTS = tuple(tenth / 10 for tenth in range(11))
"""The weights of the list that `uniform` and `bucketed` may have."""
GRID: tuple[Fusion, ...] = (
    ALONE,
    *(
        Paper(alpha_1, alpha_2, utility)
        for utility, alpha_2, alpha_1 in product(UTILITIES, (0.5, 0.1), (0.1, 0.3, 0.5, 0.7, 0.9))
    ),
    *(Uniform(weight, utility) for utility, weight in product(UTILITIES, WEIGHTS[1:])),
    *(Inject(first, every) for first, every in product((1, 2, 3, 5), (2, 3))),
    *(Inject(first, 1) for first in (3, 5, 8)),
)
"""First the recommender alone. Then Llama4Rec's values of alpha_1 and two of its values of alpha_2 (arXiv 2401.13870), the
same weight for every user, and places within the ten that are measured."""
UNTRIED = Paper(0.5, 0.5, "rank")
"""The fusion if no user has a validation item."""


def uniform_columns(utility: Utility) -> list[int]:
    """The number in GRID of `uniform` with each of WEIGHTS. The weight 0 leaves the recommender alone with any utility."""
    return [0, *(GRID.index(Uniform(weight, utility)) for weight in WEIGHTS[1:])]


def paper_columns(utility: Utility) -> list[int]:
    """The numbers in GRID of `paper` with this utility."""
    return [number for number, one in enumerate(GRID) if isinstance(one, Paper) and one.utility == utility]
