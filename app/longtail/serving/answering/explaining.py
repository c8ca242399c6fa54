"""Why an item is recommended: the items of the user that the recommender's score leans on, and where those come from."""

import numpy as np

from longtail.recommenders.models.neighbours import Neighbours
from longtail.recommenders.models.popularity import Popularity
from longtail.recommenders.recommender import Recommender
from longtail.recommenders.scoring.candidate_items import CandidateRecommender
from longtail.serving.messages.answer_messages import LeansOn, Why
from longtail.serving.versions.retriever import Asked
from longtail.serving.versions.served_arm import Arm
from longtail.serving.versions.served_items import ServedItems

MOST = 5
"""Items of the user that an explanation names."""


def explained(
    arm: Arm, asked: Asked, items: np.ndarray, listed: np.ndarray, catalogue: ServedItems
) -> list[Why]:
    """The explanation of each of `items` int [m]. listed bool [m]: whether the recommender's list has it."""
    model = arm.retriever.model
    own, generated = np.unique(asked.history), np.zeros(0, np.int32)
    if asked.user is not None and arm.keeps_users and arm.evidence is not None:
        generated = np.setdiff1d(arm.evidence.generated(asked.user), own)
    leaning = np.concatenate([own, generated])
    how, weights = _weights(model, asked.history, leaning, items)
    observed = np.arange(len(leaning)) < len(own)
    return [
        Why(how=how, leans_on=_named(arm, leaning, observed, weights[:, column], items[column], catalogue))
        if listed[column]
        else Why(how="llm", leans_on=[])
        for column in range(len(items))
    ]


def similar_to(model: Recommender, item: int, many: int) -> tuple[np.ndarray, np.ndarray]:
    """At most `many` items that are most similar to one, best first: int32 [n], and how much, float32 [n]."""
    if isinstance(model, Neighbours):
        items, scores = (rows[0] for rows in model.similar_items(np.array([item]), many))
        return items[items >= 0], scores[items >= 0]
    vectors = model.item_vectors
    if vectors is None:
        return np.zeros(0, np.int32), np.zeros(0, np.float32)
    near = _cosines(vectors, vectors[item][None])[:, 0]
    near[item] = -np.inf
    if isinstance(model, CandidateRecommender):
        near[model.candidates.left_out] = -np.inf
    best = np.argsort(-near, kind="stable")[:many].astype(np.int32)
    best = best[np.isfinite(near[best])]
    return best, near[best]


def _weights(
    model: Recommender, history: np.ndarray, leaning: np.ndarray, items: np.ndarray
) -> tuple[str, np.ndarray]:
    """What the weights mean (see `Why`), and that of each of `leaning` int [h] for each of `items`: float [h, m]."""
    if isinstance(model, Neighbours):
        given = model.contributions(history, items)
        of_item = np.zeros((len(leaning), len(items)))
        np.add.at(of_item, np.searchsorted(leaning, history), given)
        total = of_item.sum(axis=0)
        return "neighbours", np.divide(of_item, total, out=np.zeros_like(of_item), where=total != 0)
    if isinstance(model, Popularity) or model.item_vectors is None:
        return "popularity" if isinstance(model, Popularity) else "unknown", np.zeros((0, len(items)))
    return "nearest", _cosines(model.item_vectors[leaning], model.item_vectors[items])


def _named(
    arm: Arm,
    leaning: np.ndarray,
    observed: np.ndarray,
    weights: np.ndarray,
    item: int,
    catalogue: ServedItems,
) -> list[LeansOn]:
    """The items of the user with the largest weights, those of weight 0 left out."""
    best = np.argsort(-weights, kind="stable")[:MOST]
    best = best[weights[best] != 0]
    named = zip(best, catalogue.ids.take(leaning[best]), catalogue.titles_of(leaning[best]), strict=True)
    found = []
    for place, item_id, title in named:
        pairs = arm.evidence.pairs(leaning[place], item) if arm.evidence else (None, None)
        found.append(
            LeansOn(
                item_id=item_id,
                title=title,
                weight=float(weights[place]),
                origin="observed" if observed[place] else "generated",
                observed_pairs=pairs[0],
                generated_pairs=pairs[1],
            )
        )
    return found


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of each pair of rows of [n, d] and [m, d]: float32 [n, m], 0 if a vector is 0."""
    norms = [np.maximum(np.linalg.norm(part, axis=1), 1e-12) for part in (first, second)]
    return (first @ second.T) / norms[0][:, None] / norms[1][None]
