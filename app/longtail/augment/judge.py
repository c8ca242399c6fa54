"""The judge: it decides from scores of the LLMs and of ItemCF which proposals are accepted. It calls no LLM.

P(Yes) alone filters worse than the generator's own probability. Agreement with an independent collaborative score filters
best. So the judge takes a mean of the three, with the weights of the recipe.
"""

import numpy as np
import pyarrow as pa

from longtail.arrays import entry_rows, lists_of, with_values
from longtail.data.catalogue import SLICES
from longtail.recipe import Judge
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.neighbours import Neighbours
from longtail.schema import ACCEPTED, NOT_CHOSEN, OUTCOMES, PROPOSAL, RANKINGS, REJECTED

SCORES = ("likelihood", "agreement", "yes_no")


def with_agreement(answers: pa.Table, itemcf: Neighbours, histories: Histories | None = None) -> pa.Table:
    """Adds the agreement of every candidate: its score for the history of its row, by ItemCF on the observed log.

    histories: those of the rows; by default the training history of each row's user.
    """
    flat = _Flat(answers)
    found = np.zeros(len(flat.rows), np.float32)
    if histories is None:
        histories = itemcf.seen.take(answers["user"].to_numpy())
    rows, items = flat.rows[flat.candidates], flat.items[flat.candidates]
    found[flat.candidates] = itemcf.affinities(histories, rows, items)
    return flat.changed(answers, agreement=pa.array(found, mask=~flat.candidates))


def judge(answers: pa.Table, settings: Judge, rare: np.ndarray) -> pa.Table:
    """Gives a confidence and an outcome to every proposal that is open, or that a judge decided before.

    rare: bool [n_items], long-tail and cold items.
    """
    flat = _Flat(answers)
    open_rows, items = flat.rows[flat.open], flat.items[flat.open]
    scores = {name: flat.values(name)[flat.open] for name in SCORES}
    confidence = blend(scores, open_rows, settings) * np.where(rare[items], settings.tail_boost, 1.0)
    allowed = np.where(confidence >= settings.threshold, confidence, -np.inf)
    accepted = select(allowed, open_rows, rare[items], settings.keep, settings.tail_share)
    outcomes = flat.outcomes.copy()
    outcomes[flat.open] = np.where(accepted, OUTCOMES.index(ACCEPTED), OUTCOMES.index(REJECTED))
    confidences = np.zeros(len(outcomes), np.float32)
    confidences[flat.open] = np.minimum(confidence, 1.0)
    return flat.changed(
        answers,
        outcome=pa.array(OUTCOMES, pa.string()).take(pa.array(outcomes)),
        confidence=pa.array(confidences, mask=~flat.open),
    )


def likeliest(answers: pa.Table, slices: np.ndarray) -> pa.Table:
    """Judged answers, but the likeliest proposals are accepted: what the generator says without a judge.

    Each user has as many accepted proposals of each item slice as before, so only the choice within a slice changes.
    slices: int [n_items], the codes of `data.catalogue.slice_codes`.
    """
    flat = _Flat(answers)
    taken = flat.outcomes[flat.open] == OUTCOMES.index(ACCEPTED)
    groups = flat.rows[flat.open] * len(SLICES) + slices[flat.items[flat.open]]
    order = np.argsort(groups, kind="stable")
    groups, best = groups[order], np.zeros(len(groups), bool)
    likelihood, none_rare = flat.values("likelihood")[flat.open][order], np.zeros(len(groups), bool)
    best[order] = select(likelihood, groups, none_rare, _per_row(groups, taken[order]), 0.0)
    outcomes = flat.outcomes.copy()
    outcomes[flat.open] = np.where(best, OUTCOMES.index(ACCEPTED), OUTCOMES.index(REJECTED))
    return flat.changed(answers, outcome=pa.array(OUTCOMES, pa.string()).take(pa.array(outcomes)))


def rankings(answers: pa.Table, settings: Judge, rare: np.ndarray) -> pa.Table:
    """The LLM's list of each user, rows of `schema.RANKINGS`: all candidates by likelihood and agreement.

    P(Yes) is not used, because items that were not chosen have none. If the judge uses neither likelihood nor agreement
    (`llm-i2i`), likelihood orders the list. A user whose answers name no candidate has no row.
    """
    flat = _Flat(answers)
    rows, items = flat.rows[flat.candidates], flat.items[flat.candidates]
    likelihood, agreement = (flat.values(name)[flat.candidates] for name in SCORES[:2])
    score = list_scores(likelihood, agreement, rows, rare[items], settings)
    order = np.lexsort((items, -score, rows))
    rows, items, score = rows[order], items[order], score[order]
    starts = (
        np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
        if len(rows)
        else np.zeros(0, np.int64)
    )
    offsets = np.append(starts, len(rows))
    lists = [lists_of(offsets, pa.array(part)) for part in (items, score.astype(np.float32))]
    users = answers["user"].to_numpy()[rows[starts]]
    return pa.table([pa.array(users, pa.int32()), *lists], schema=RANKINGS)


def list_scores(
    likelihood: np.ndarray, agreement: np.ndarray, rows: np.ndarray, rare: np.ndarray, settings: Judge
) -> np.ndarray:
    """The confidence without P(Yes), from likelihood and agreement [n]: float64 [n].

    rows int [n], ascending; rare bool [n]: whether an item is of the long tail or cold. If the judge uses neither of the
    two, it is the likelihood.
    """
    scores = {"likelihood": likelihood, "agreement": agreement}
    if settings.likelihood + settings.agreement == 0:
        settings, scores = settings.model_copy(update={"likelihood": 1.0}), {"likelihood": likelihood}
    return blend(scores, rows, settings) * np.where(rare, settings.tail_boost, 1.0)


def blend(scores: dict[str, np.ndarray], rows: np.ndarray, settings: Judge) -> np.ndarray:
    """Weighted mean of scores [n]: float64 [n], 0..1. If the judge is `relative`, each is first divided by the largest of
    its row.

    rows int [n], ascending. A missing score counts as 0.
    """
    weights = {name: getattr(settings, name) for name in scores}
    total = sum(weights.values()) or 1.0
    blended = np.zeros(len(rows))
    starts = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]])) if len(rows) else []
    for name, weight in weights.items():
        own = np.nan_to_num(scores[name].astype(np.float64))
        if settings.relative and len(rows):
            largest = np.maximum.reduceat(own, starts).repeat(np.diff(np.append(starts, len(rows))))
            own = np.divide(own, largest, out=np.zeros_like(own), where=largest > 0)
        blended += weight / total * own
    return blended


def select(
    scores: np.ndarray, rows: np.ndarray, rare: np.ndarray, keep: int | np.ndarray, tail_share: float
) -> np.ndarray:
    """bool [n]: the `keep` best of each row. Of these, round(keep * tail_share) are rare, if the row has so many rare ones.

    scores float [n], -inf for what may not be taken; rows int [n], ascending; rare bool [n]; keep: one number for all
    rows, or int [n] with the number of each entry's row. Of equal scores the earlier entry wins.
    """
    order = np.lexsort((-scores, rows))
    possible, keep = np.isfinite(scores[order]), np.broadcast_to(keep, len(rows))[order]
    seated = _first(rows[order], rare[order] & possible, np.round(keep * tail_share))
    left = keep - _per_row(rows[order], seated)
    taken = seated | _first(rows[order], possible & ~seated, left)
    chosen = np.zeros(len(scores), bool)
    chosen[order] = taken
    return chosen


def _first(rows: np.ndarray, which: np.ndarray, count: np.ndarray) -> np.ndarray:
    """bool [n]: in each row the first `count` [n] entries of `which`."""
    before = np.cumsum(which) - which
    starts = np.searchsorted(rows, rows)
    return which & (before - before[starts] < count) if len(rows) else which


def _per_row(rows: np.ndarray, which: np.ndarray) -> np.ndarray:
    """For every entry, the number of `which` in its row: int [n]."""
    return np.bincount(rows[which], minlength=rows.max(initial=-1) + 1)[rows]


class _Flat:
    """The proposals of a batch of answers as arrays."""

    def __init__(self, answers: pa.Table) -> None:
        self.lists = answers["proposals"].combine_chunks()
        self.flat = self.lists.flatten()
        self.rows = entry_rows(self.lists)
        self.items = self.flat.field("item").fill_null(-1).to_numpy(zero_copy_only=False)
        index = pa.compute.index_in(self.flat.field("outcome"), pa.array(OUTCOMES, pa.string()))
        self.outcomes = index.fill_null(-1).to_numpy(zero_copy_only=False)
        self.open = np.isin(self.outcomes, [-1, OUTCOMES.index(ACCEPTED), OUTCOMES.index(REJECTED)])
        """Proposals that a judge decides about."""
        unchosen = self.outcomes == OUTCOMES.index(NOT_CHOSEN)
        self.candidates = (self.open | unchosen) & (self.items >= 0)
        """Proposals that could be recommended."""

    def values(self, name: str) -> np.ndarray:
        """float32 [n], nan for a missing value."""
        return self.flat.field(name).fill_null(np.nan).to_numpy(zero_copy_only=False)

    def changed(self, answers: pa.Table, **columns: pa.Array) -> pa.Table:
        fields = [columns.get(field.name, self.flat.field(field.name)) for field in PROPOSAL]
        structs = pa.StructArray.from_arrays(fields, fields=list(PROPOSAL))
        lists = with_values(self.lists, structs)
        return answers.set_column(answers.column_names.index("proposals"), "proposals", lists)
