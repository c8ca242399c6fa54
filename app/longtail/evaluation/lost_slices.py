"""Which fits lose a slice of the recipe's `Constraint` on validation, against the same recommender on the observed log."""

from longtail.evaluation.constrained_choice import Change, K
from longtail.evaluation.per_user_metrics import compare_slice
from longtail.evaluation.slices import slice_named
from longtail.ranking_metrics import METRICS
from longtail.recipe import Constraint, Evaluation
from longtail.workspace.place import Place

Lost = dict[str, float]
"""From each slice that is lost to the mean difference of NDCG@10 there."""


def lost_slices(
    fits: dict[str, dict[str, list[Place]]], data: Place, constraint: Constraint
) -> dict[str, dict[str, Lost]]:
    """What each fit loses, by recommender and variant. Ray must be connected.

    fits: from each recommender and variant to its places with the ranks of the validation items, see `compare_slice`.
    """
    import ray

    task = ray.remote(num_cpus=1)(_lost)
    waiting = {name: task.remote(places, data, constraint) for name, places in fits.items()}
    return {name: ray.get(found) for name, found in waiting.items()}


def _lost(variants: dict[str, list[Place]], data: Place, constraint: Constraint) -> dict[str, Lost]:
    found: dict[str, Lost] = {variant: {} for variant in variants}
    for name in constraint.slices:
        compared = compare_slice(slice_named(name), variants, data, Evaluation(ks=[K]))
        for (variant, base), own in compared.differences.items() if compared else ():
            change = Change.of(name, own, (METRICS.index("ndcg"), 0))
            if base == "observed" and change.shortfall(constraint.within_se):
                found[variant][name] = change.difference
    return found
