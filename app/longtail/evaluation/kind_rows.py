"""Rows of `metrics.json` on the kinds of fusion: each kind, and both of what is fused alone, with paired intervals."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from longtail.aggregation.kinds import KINDS
from longtail.evaluation.evaluated_runs import evaluations
from longtail.evaluation.kind_ranks import kind_place
from longtail.evaluation.per_user_metrics import compare_slice
from longtail.evaluation.report_rows import Difference, differences
from longtail.evaluation.served_validation import kinds_in
from longtail.evaluation.slices import SLICE_NAMES
from longtail.ranking_metrics import METRICS
from longtail.recipe import Evaluation, Recipe
from longtail.recommenders.training.fits import served_runs
from longtail.rounds import last_round
from longtail.variants import LISTS, VARIANTS
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

RECOMMENDER, LIST = "recommender", "list"
PARTS = (RECOMMENDER, LIST)
"""What is fused: the recommender alone, and the LLM's list alone, after which comes nothing."""
CONTRASTS = (
    (LIST, RECOMMENDER),
    *product(KINDS, PARTS),
    *((kind, "paper") for kind in KINDS if kind != "paper"),
)
"""The pairs that are compared."""


@dataclass(frozen=True)
class KindRow:
    """One figure of a kind of fusion, or of one of PARTS, of `n` users who have `targets` held-out items.

    variant: that of the fused rankings. over: the `Difference` from what this is compared with in CONTRASTS, by its name.
    better: which of PARTS has the higher value here; it is chosen on the test, which favours the parts.
    """

    recommender: str
    variant: str
    kind: str
    slice: str
    metric: str
    k: int
    value: float
    n: int
    targets: int
    over: dict[str, Difference]
    better: str


def compared_kinds(recipe: Recipe, ws: Workspace) -> dict[tuple[str, str], dict[str, list[Place]]]:
    """By recommender and served variant of the LLM, where the ranks of each kind and of PARTS are: a place for each pair.

    Empty if the recipe does not ask for them (`evaluation.kinds`).
    """
    found: dict[tuple[str, str], dict[str, list[Place]]] = {}
    if not recipe.evaluation.kinds:
        return found
    for run in served_runs(recipe, last_round(recipe)):
        made = VARIANTS[run.variant]
        if made.by_llm:
            own = evaluations(run.recommender, recipe, ws)
            alone = next(name for name in LISTS if VARIANTS[name].sources == made.sources)
            places = {RECOMMENDER: own[made.fitted_on], LIST: own[alone]}
            for kind in kinds_in(read_manifest(ws / run.evaluation)["counts"]):
                places[kind] = [kind_place(place, kind) for place in own[run.variant]]
            found[run.recommender, run.variant] = places
    return found


def measure_kinds(
    recommender: str,
    variant: str,
    places: dict[str, list[Place]],
    data: Place,
    settings: Evaluation,
    seed: int,
) -> list[KindRow]:
    """The rows of one recommender and served variant, of every slice that has users. Meant for a Ray task.

    places: see `compared_kinds`.
    """
    rows, compared = [], [one for one in CONTRASTS if {*one} <= places.keys()]
    settings = settings.model_copy(update={"sampled_negatives": 0})
    cells = dict(zip(product(METRICS, settings.ks), np.ndindex(len(METRICS), len(settings.ks)), strict=True))
    for number, name in enumerate(SLICE_NAMES):
        found = compare_slice(name, places, data, settings, compared)
        if found is None:
            continue
        differing = differences(found, settings, np.random.default_rng([seed, number]))
        means = {kind: values.mean for kind, values in found.values.items()}
        for kind, ((metric, k), cell) in product(means, cells.items()):
            rows.append(
                KindRow(
                    *(recommender, variant, kind, name, metric, k),
                    value=float(means[kind][cell]),
                    n=found.n,
                    targets=found.targets,
                    over={base: own[cell] for (of, base), own in differing.items() if of == kind},
                    better=RECOMMENDER if means[RECOMMENDER][cell] >= means[LIST][cell] else LIST,
                )
            )
    return rows
