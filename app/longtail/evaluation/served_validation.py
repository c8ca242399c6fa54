"""NDCG on validation of a fit: alone, fused with the LLM's list, and, as a control, fused with a recommender's list.

The weight of the list is chosen on the validation items, for each fit, so that no slice of the recipe's constraint is lower
than without the list. The test is then ranked once, with this choice.
"""

from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any

import numpy as np

from longtail.aggregation.fused import ALONE, Choice, Fused
from longtail.evaluation.constrained_choice import Changes, K, best_within, ndcg_by_slice, shortfall
from longtail.evaluation.ranks import rank_targets, ranks_table, ranks_writer
from longtail.evaluation.slices import Membership
from longtail.evaluation.targets import Part, read_targets
from longtail.ranking_metrics import METRICS, per_user
from longtail.recipe import Constraint
from longtail.recommenders.recommender import Recommender
from longtail.workspace.place import Place

GRID = (
    ALONE,
    *(
        Choice(alpha_1, alpha_2, utility)
        for utility, alpha_2, alpha_1 in product(
            ("rank", "score"), (1.0, 0.5, 0.1), (0.1, 0.3, 0.5, 0.7, 0.9)
        )
    ),
)
"""The choices that are tried: Llama4Rec's values of alpha_1 (arXiv 2401.13870); for alpha_2 two of its values and 1,
which gives every user the same weight; and alpha_1 = 0, with which the list only fills places that the recommender
leaves free."""
UNTRIED = Choice(0.5, 0.5, "rank")
"""The choice if no user has a validation item."""


@dataclass(frozen=True)
class Tried:
    """Sums of NDCG@10 over the users with a validation item; the sums of parts can be added.

    ndcg float64 [len(GRID)]: the sum for each choice. alone: the sum for the recommender without a list. changes: those of
    each choice, against the recommender without a list.
    """

    users: int
    ndcg: np.ndarray
    alone: float
    changes: Changes = field(default_factory=Changes)

    def __add__(self, other: "Tried") -> "Tried":
        return Tried(
            self.users + other.users,
            self.ndcg + other.ndcg,
            self.alone + other.alone,
            self.changes + other.changes,
        )

    @classmethod
    def none(cls) -> "Tried":
        return cls(0, np.zeros(len(GRID)), 0.0)

    def best(self, constraint: Constraint) -> Choice:
        """The best choice on validation that meets the constraint, the first in GRID if several are equal; ALONE if none
        meets it. UNTRIED without validation items.
        """
        if not self.users:
            return UNTRIED
        short = [shortfall(self.changes.of_candidate(number), constraint) for number in range(len(GRID))]
        found = best_within(self.ndcg, short)
        return ALONE if found is None else GRID[found]

    def counts(self, chosen: Choice | None = None) -> dict[str, Any]:
        """The validation entries of the manifest.

        `validation`: the number of users, and the mean NDCG@10 of the `chosen` choice or else of the recommender alone.
        `serving`, only with a choice: the choice, its NDCG@10, that of the recommender alone, and that of the best choice
        without a constraint (`free`).
        """
        total = self.alone if chosen is None else self.ndcg[GRID.index(chosen)]
        ndcg, alone = (float(value) / self.users if self.users else None for value in (total, self.alone))
        found: dict[str, Any] = {"validation": {"users": self.users, "ndcg": ndcg}}
        if chosen is not None:
            found["serving"] = asdict(chosen) | {"validation_users": self.users}
            if self.users:
                free = float(self.ndcg.max()) / self.users
                found["serving"] |= {"validation_ndcg": ndcg, "validation_ndcg_alone": alone}
                found["serving"]["validation_ndcg_free"] = free
        return found


def chosen_in(counts: dict[str, Any]) -> Choice:
    """The choice that `Tried.counts` wrote to a manifest."""
    return Choice(**{name: counts["serving"][name] for name in asdict(UNTRIED)})


def try_fit(model: Recommender, part: Part, to: Place) -> Tried:
    """The sums of the recommender alone, for the users of `part`. Their training items are masked.

    Writes the ranks of the validation items, rows of RANKS, to `to`/ranks/`part.name`; 0 beyond K.
    """
    total = Tried.none()
    with ranks_writer(part, to) as writer:
        for users, rows, targets in read_targets(part, "valid"):
            lists, _ = model.recommend(users, min(K, model.n_items))
            ranks = rank_targets(lists, rows, targets)
            writer.write_table(ranks_table(users[rows], targets, ranks))
            total += Tried(len(users), np.zeros(len(GRID)), _ndcg(rows, ranks))
    return total


def try_fused(fused: Fused, slices: Membership, part: Part) -> Tried:
    """The sums of every choice of GRID and of the recommender alone, for the users of `part`; see `try_fit`.

    slices: those of the constraint.
    """
    total = Tried.none()
    for users, rows, targets in read_targets(part, "valid"):
        union, asked = fused.union(users, None), fused.interactions(users, None)
        places = np.zeros((len(targets), len(GRID) + 1), np.int64)
        for number, choice in enumerate(GRID):
            utility = union.utility(fused.trust(choice).alpha(asked), choice.utility)
            places[:, number] = union.places(utility, rows, targets)
        own = union.recommender_place[rows] * (union.items[rows] == targets[:, None])
        places[:, -1] = own.max(axis=1)
        *ndcg, alone = (_ndcg(rows, one) for one in places.T)
        by_slice = ndcg_by_slice(rows, slices.of(users[rows], targets), places)
        changes = {
            name: (values[:, :-1] - values[:, -1:])[:, None]
            for name, values in zip(slices.names, by_slice, strict=True)
        }
        total += Tried(len(users), np.array(ndcg), alone, Changes.of(changes))
    return total


def _ndcg(rows: np.ndarray, places: np.ndarray) -> float:
    """The sum over users of NDCG@10.

    rows int [targets]: the user of each target; places int [targets]: its 1-based place, 0 if it was not found.
    """
    _, values = per_user(rows, places, [K])
    return float(values[:, METRICS.index("ndcg"), 0].sum())
