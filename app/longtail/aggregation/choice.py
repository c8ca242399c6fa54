"""The choice of the fit that is served and of its fusion with a list: best on validation, or named by the recipe.

`evaluate` publishes the validation figures. The artefact of the aggregator and the report both choose from them with
`choose`. The test items are never used here.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any, Self

from longtail.aggregation.kinds import Fusion, Paper, read_fusion
from longtail.errors import InputError
from longtail.recipe import NO_LIST, Serving
from longtail.workspace import Workspace
from longtail.workspace.place import Place

FIGURES = "evaluation/validation"
"""Where the figures are published, relative to the workspace."""


@dataclass(frozen=True)
class Kind:
    """The best fusion of one kind on validation that meets the recipe's constraint, with its mean NDCG@10; if none meets it,
    that of the recommender alone.
    """

    fusion: Fusion
    ndcg: float | None

    def told(self) -> dict[str, Any]:
        return {"fusion": self.fusion.told(), "ndcg": self.ndcg}

    @classmethod
    def read(cls, told: dict[str, Any]) -> Self:
        """What `told` wrote."""
        return cls(read_fusion(told["fusion"]), told["ndcg"])


@dataclass(frozen=True)
class Figure:
    """One fit on validation, alone or fused with a list: the mean NDCG@10 of its `users`, None if there are none.

    free: the same with the fusion that would be chosen without the recipe's constraint. lost: the slices of the constraint
    that the recommender loses on this training set against the observed log, with the difference of NDCG@10; the mean over
    seeds. How a list is fused loses none against the recommender alone.

    variant: the name in the report; trained_on: the variant of its training set. list: the strategy whose list is
    fused in, None for the recommender alone; fusion: how, None without a list; kinds: the best of each kind of fusion,
    only `paper` if there are no validation items. control: whether it is a control, which is served only if the recipe names
    it. data, fit, answers: where the histories, the fitted recommender and the answers with the list are published, relative
    to the workspace; answers is None without a list. made_of: the fingerprint of each place that was measured.
    """

    recommender: str
    variant: str
    trained_on: str
    seed_index: int
    control: bool
    list: str | None
    fusion: Fusion | None
    kinds: dict[str, Kind]
    candidates: int
    users: int
    ndcg: float | None
    free: float | None
    lost: dict[str, float]
    data: str
    fit: str
    answers: str | None
    made_of: dict[str, str]

    def written(self) -> dict[str, Any]:
        """All of it as JSON."""
        kinds = {name: own.told() for name, own in self.kinds.items()}
        return asdict(self) | {"fusion": self.fusion and self.fusion.told(), "kinds": kinds}

    @classmethod
    def read(cls, written: dict[str, Any]) -> Self:
        """What `written` wrote."""
        fusion = written["fusion"] and read_fusion(written["fusion"])
        kinds = {name: Kind.read(own) for name, own in written["kinds"].items()}
        return cls(**written | {"fusion": fusion, "kinds": kinds})

    def told(self) -> dict[str, Any]:
        """The fields that `metrics.json` has."""
        apart = ("data", "fit", "answers", "made_of")
        return {name: value for name, value in self.written().items() if name not in apart}

    def of_kind(self, kind: str) -> Self:
        """The same fit fused in this kind."""
        return replace(self, fusion=self.kinds[kind].fusion, ndcg=self.kinds[kind].ndcg)


def write_figures(figures: list[Figure], to: Place) -> None:
    (to / "figures.json").write_json([one.written() for one in figures])


def read_figures(ws: Workspace) -> list[Figure]:
    """The published figures, in the order of the recipe. Raises InputError if `evaluate` has not run."""
    return [Figure.read(one) for one in (ws.require(FIGURES) / "figures.json").read_json()]


def choose(figures: list[Figure], serving: Serving) -> Figure:
    """Choose what is served: the best figure on validation that `serving` allows, with the fusion that it names.

    The best recommender and variant that loses no slice of the constraint is found with the mean over seeds; if the recipe
    names what loses one, this is served. Then its best seed is taken. If several are equal, the first in the order of the
    figures is taken: that of the recipe, with all recommenders alone before those with a list. If no user has a validation
    item, `serving` must name recommender and variant. Raises InputError if no figure is allowed, or if validation cannot
    decide between them.
    """
    named = {name: value for name in ("recommender", "variant", "list") if (value := getattr(serving, name))}
    kind = "paper" if serving.numbers else serving.kind
    fitting = [one for one in figures if _fits(one, named) and (not kind or kind in one.kinds)]
    if not fitting:
        fits = ", ".join(dict.fromkeys(f"{one.recommender} on {one.variant}" for one in figures))
        asked = ", ".join(f"serving.{name} = {value!r}" for name, value in serving.named.items())
        raise InputError(
            f"{asked or 'serving'}: nothing of the kind was evaluated. Evaluated: {fits or 'nothing'}."
            " Name one of these, or run longtail evaluate again."
        )
    if not any(one.users for one in fitting) and not {"recommender", "variant"} <= named.keys():
        raise InputError(
            "serving: no user has a validation item, so the best recommender is not known. Name"
            " serving.recommender and serving.variant."
        )
    chosen = best(one.of_kind(kind) if kind else one for one in fitting)
    if serving.numbers:
        chosen = replace(chosen, fusion=with_numbers(chosen.fusion, serving.numbers))
    if chosen.list and serving.candidates > chosen.candidates:
        raise InputError(
            f"serving.candidates = {serving.candidates}: lists were fused with {chosen.candidates} candidates when they"
            " were evaluated. Run longtail evaluate again with as many."
        )
    return chosen


def with_numbers(fusion: Fusion | None, numbers: dict[str, float | str]) -> Fusion:
    """The fusion of kind `paper` with these numbers. One that was left alone on validation has the weight 0 for the rest."""
    own = fusion if isinstance(fusion, Paper) else Paper(0.0, 1.0)
    return replace(own, **numbers)


def best(figures: Iterable[Figure]) -> Figure:
    """The best figure on validation, see `choose`. There must be at least one figure."""
    figures, groups = list(figures), dict[tuple[str, str], list[Figure]]()
    for one in [one for one in figures if not one.lost] or figures:
        groups.setdefault((one.recommender, one.variant), []).append(one)
    return max(max(groups.values(), key=mean_ndcg), key=lambda one: one.ndcg or 0.0)


def best_free(figures: Iterable[Figure]) -> Figure:
    """The best figure if there were no constraint, with the NDCG@10 that it would have."""
    figures = list(figures)
    freed = [replace(one, ndcg=one.free, lost={}) for one in figures]
    found = freed.index(best(freed))
    return replace(figures[found], ndcg=figures[found].free)


def mean_ndcg(seeds: list[Figure]) -> float:
    """The mean NDCG@10 over the seeds of one recommender and variant; 0 if no user has a validation item."""
    return fmean(one.ndcg or 0.0 for one in seeds)


def _fits(one: Figure, named: dict[str, str]) -> bool:
    """Whether a figure has the named values. A control must have its training set named, and is never fused."""
    if one.control and (one.trained_on != named.get("variant") or one.list):
        return False
    own = {"recommender": one.recommender, "variant": one.trained_on, "list": one.list or NO_LIST}
    return all(own[name] == value for name, value in named.items())
