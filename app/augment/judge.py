"""The judge: which proposals are accepted, from confidences in the ledger. Costs no LLM call.

Yes/No alone filters worse than the generator's own probability, and agreement with an independent collaborative score
filters best, so the three are blended by the recipe's weights.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from app.recipe import Judge
from app.schema import ACCEPTED, ANSWERS, REJECTED


def judge(batch: pa.Table, settings: Judge, tail_share: float, rare: np.ndarray) -> pa.Table:
    """Answers of the ledger -> answers whose every proposal has its outcome and, where judged, its confidence.

    tail_share of the accepted is reserved for `rare` items (bool [n_items]), where a user has such proposals.
    """
    rows = batch.to_pylist()
    for row in rows:
        open_proposals = [proposal for proposal in row["proposals"] if proposal["outcome"] is None]
        if open_proposals:
            _decide(open_proposals, settings, tail_share, rare)
    return pa.Table.from_pylist(rows, ANSWERS)


def _decide(proposals: list[dict[str, Any]], settings: Judge, tail_share: float, rare: np.ndarray) -> None:
    """Fill confidence and outcome of one user's open proposals in place."""
    scores = {
        name: np.array([proposal[name] or 0.0 for proposal in proposals])
        for name in ("likelihood", "agreement", "yes_no")
    }
    confidence = blend(scores, settings)
    is_rare = rare[[proposal["item"] for proposal in proposals]]
    allowed = np.where(confidence >= settings.threshold, confidence, -np.inf)
    accepted = set(select(allowed, is_rare, settings.keep, tail_share).tolist())
    for place, proposal in enumerate(proposals):
        proposal["confidence"] = float(confidence[place])
        proposal["outcome"] = ACCEPTED if place in accepted else REJECTED


def select(scores: np.ndarray, rare: np.ndarray, keep: int, tail_share: float) -> np.ndarray:
    """The places of the `keep` best scores, the first round(keep * tail_share) seats for rare items as far as there are any.

    scores float [n], -inf where a place may not be taken; rare bool [n].
    """
    order = np.argsort(-scores, kind="stable")
    order = order[np.isfinite(scores[order])]
    reserved = order[rare[order]][: round(keep * tail_share)]
    others = order[~np.isin(order, reserved)]
    return np.concatenate([reserved, others[: keep - len(reserved)]]).astype(np.int64)


def blend(scores: dict[str, np.ndarray], settings: Judge) -> np.ndarray:
    """Weighted mean of the three scores, each divided by the user's largest: float [proposals] in 0..1."""
    weights = {name: getattr(settings, name) for name in scores}
    total = sum(weights.values())
    blended = np.zeros(len(next(iter(scores.values()))))
    for name, weight in weights.items():
        largest = scores[name].max()
        if largest > 0:
            blended += weight / total * scores[name] / largest
    return blended
