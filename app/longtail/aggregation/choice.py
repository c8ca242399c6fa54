"""Which fit is served, and how it is fused with a list: what ranks best on validation, or what the recipe names.

`evaluate` publishes the figures of validation, `report` and `serve` both choose from them by `choose`. Nothing here looks
at the test.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from longtail.aggregation.formulas import Utility
from longtail.errors import InputError
from longtail.recipe import Serving
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

FIGURES = "evaluation/validation"
"""Where the figures are published, relative to the workspace."""
FUSION = ("alpha_1", "alpha_2", "utility")
"""The settings of `serving` that say how a list is fused."""


@dataclass(frozen=True)
class Figure:
    """What validation says of one fit, alone or fused with a list: mean NDCG@10 of its `users`, None if there are none.

    variant is what the report calls it, trained_on the variant of its training set. list is the strategy whose list is
    fused in, None for the recommender alone; alpha_1, alpha_2 and utility are None then. control: it stands for
    comparison and is not served unless the recipe names it. made_of: the fingerprint of each place that was measured.
    """

    recommender: str
    variant: str
    trained_on: str
    seed_index: int
    control: bool
    list: str | None
    alpha_1: float | None
    alpha_2: float | None
    utility: Utility | None
    candidates: int
    users: int
    ndcg: float | None
    made_of: dict[str, str]

    @property
    def fit(self) -> str:
        """Where the fitted recommender is published, relative to the workspace."""
        return f"recommenders/{self.trained_on}/{self.recommender}-{self.seed_index}"

    def told(self) -> dict[str, Any]:
        """What the report says of it."""
        return {name: value for name, value in asdict(self).items() if name != "made_of"}


def write_figures(figures: list[Figure], to: Place) -> None:
    (to / "figures.json").write_json([asdict(one) for one in figures])


def read_figures(ws: Workspace) -> list[Figure]:
    """In the order of the recipe. InputError where `evaluate` has not run."""
    return [Figure(**one) for one in (ws.require(FIGURES) / "figures.json").read_json()]


def choose(figures: list[Figure], serving: Serving) -> Figure:
    """What is served: of what fits the names in `serving`, the best on validation, with the fusion that `serving` names.

    Seeds are averaged to find the best recommender and variant, then its best seed is taken. Of equals the first counts,
    in the order of the figures: that of the recipe, all recommenders alone before any with a list. If nobody has a
    validation item, recommender and variant must be named. Raises InputError if nothing fits, or nothing says which.
    """
    named = {name: value for name in ("recommender", "variant", "list") if (value := getattr(serving, name))}
    fusion = {name: value for name in FUSION if (value := getattr(serving, name)) is not None}
    fitting = [one for one in figures if _fits(one, named) and (one.list or not fusion)]
    if not fitting:
        fits = ", ".join(dict.fromkeys(f"{one.recommender} on {one.variant}" for one in figures))
        asked = ", ".join(f"serving.{name} = {value!r}" for name, value in (named | fusion).items())
        raise InputError(
            f"{asked or 'serving'}: nothing of the kind was evaluated. Evaluated: {fits or 'nothing'}."
            " Name one of these, or run longtail evaluate again."
        )
    if not any(one.users for one in fitting) and not {"recommender", "variant"} <= named.keys():
        raise InputError(
            "serving: no user has a validation item, so nothing says which recommender is best. Name"
            " serving.recommender and serving.variant."
        )
    chosen = replace(best(fitting), **fusion)
    if chosen.list and serving.candidates > chosen.candidates:
        raise InputError(
            f"serving.candidates = {serving.candidates}: lists were fused with {chosen.candidates} candidates when they"
            " were evaluated. Run longtail evaluate again with as many."
        )
    return chosen


def best(figures: Iterable[Figure]) -> Figure:
    """The best on validation; see `choose`. At least one figure."""
    groups: dict[tuple[str, str], list[Figure]] = {}
    for one in figures:
        groups.setdefault((one.recommender, one.variant), []).append(one)
    return max(max(groups.values(), key=mean_ndcg), key=lambda one: one.ndcg or 0.0)


def mean_ndcg(seeds: list[Figure]) -> float:
    """Over the seeds of one recommender and variant, 0 where nobody has a validation item."""
    return fmean(one.ndcg or 0.0 for one in seeds)


def _fits(one: Figure, named: dict[str, str]) -> bool:
    """Whether a figure is of what is named. A control is served only if its training set is named, its list never."""
    if one.control and (one.trained_on != named.get("variant") or one.list):
        return False
    own = {"recommender": one.recommender, "variant": one.trained_on, "list": one.list}
    return all(own[name] == value for name, value in named.items())


def check_measured(ws: Workspace, chosen: Figure) -> None:
    """Raise InputError where what was measured is no longer what is published."""
    for place, fingerprint in chosen.made_of.items():
        manifest = read_manifest(ws / place)
        if manifest is None or manifest["fingerprint"] != fingerprint:
            raise InputError(
                f"{ws}: {place} is not the one that was evaluated, so what is served would not be what was measured."
                " Run longtail evaluate again."
            )
