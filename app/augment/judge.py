"""The judge: which proposals are accepted, from confidences in the ledger. Costs no LLM call.

Yes/No alone filters worse than the generator's own probability, and agreement with an independent collaborative score
filters best, so the three are blended by the recipe's weights.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from app.recipe import Judge
from app.schema import ACCEPTED, ANSWERS, REJECTED


def judge(batch: pa.Table, settings: Judge) -> pa.Table:
    """Answers of the ledger -> answers whose every proposal has its outcome and, where judged, its confidence."""
    rows = batch.to_pylist()
    for row in rows:
        open_proposals = [proposal for proposal in row["proposals"] if proposal["outcome"] is None]
        if open_proposals:
            _decide(open_proposals, settings)
    return pa.Table.from_pylist(rows, ANSWERS)


def _decide(proposals: list[dict[str, Any]], settings: Judge) -> None:
    """Fill confidence and outcome of one user's open proposals in place."""
    scores = {
        name: np.array([proposal[name] or 0.0 for proposal in proposals]) for name in ("likelihood", "agreement", "yes_no")
    }
    confidence = blend(scores, settings)
    best = np.argsort(-confidence, kind="stable")[: settings.keep]
    accepted = {int(place) for place in best if confidence[place] >= settings.threshold}
    for place, proposal in enumerate(proposals):
        proposal["confidence"] = float(confidence[place])
        proposal["outcome"] = ACCEPTED if place in accepted else REJECTED


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
