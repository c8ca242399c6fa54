"""The items that a variant adds to each user, from judged answers: arrays over all users, 4 bytes per item.

Only for Ray tasks.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.arrays import entry_rows, lists_of, offsets_of
from longtail.augment.judge import judge, likeliest
from longtail.data.catalogue import COLD, SLICES, TAIL
from longtail.data.held_out import pairs_of, read_held_out
from longtail.fusion.amounts import Amounts
from longtail.recipe import Judge
from longtail.recommenders.interactions import Histories
from longtail.registry import strategy_spec
from longtail.schema import ACCEPTED, NOTHING, PREFERENCES, REJECTED
from longtail.variants import VARIANTS, TrainedVariant
from longtail.workspace.place import Place

SCREENING = "screening"


@dataclass(frozen=True)
class Chosen:
    """The items that are added to each user, those that were proposed, and the observed items that are screened out.

    Row i is that of user i. Proposed are the items that were added or that the judge rejected. slices int [n_items]: the
    slice of each item, see `data.catalogue.slice_codes`.
    """

    added: Histories
    proposed: Histories
    dropped: Histories
    slices: np.ndarray

    def amounts(self, users: np.ndarray) -> Amounts:
        """What a control copies for `users` int [n]."""
        return Amounts.of(self.proposed.take(users), self.added.take(users), self.slices)


def choose(
    answers: dict[str, Place],
    variant: TrainedVariant,
    settings: Judge,
    slices: np.ndarray,
    n_users: int,
    data: Place | None = None,
) -> Chosen:
    """Read the published answers of a variant's strategies; `settings` judges anew what the recipe's judge decides.

    `generated` takes the same number of items per user and item slice as the judge keeps, but chooses them only by the
    generator's probability. So it has the same controls. `without_hits` removes what equals a held-out item before it
    judges, so the next open proposal of the user takes the seat. If there is none, this user gets fewer items. slices: see
    `Chosen`; data: a published `data/`, which only `without_hits` needs.
    """
    rare = np.isin(slices, [SLICES.index(name) for name in (TAIL, COLD)])
    hits = read_held_out(data) if VARIANTS[variant].hits_removed else None
    added, proposed, dropped = [], [], []
    for strategy, place in answers.items():
        for file in place.files(".parquet"):
            table = file.read_table(["user", "proposals"])
            if hits is not None:
                table = _without(table, hits)
            if strategy == SCREENING:
                dropped.append(_pairs(table, REJECTED))
                continue
            if strategy_spec(strategy).judged:
                table = judge(table, settings, rare)
                if variant == "generated":
                    table = likeliest(table, slices)
            added.append(_pairs(table, ACCEPTED))
            proposed += [added[-1], _pairs(table, REJECTED)]
    return Chosen(*(_by_user(part, n_users) for part in (added, proposed, dropped)), slices)


def _without(answers: pa.Table, hits: np.ndarray) -> pa.Table:
    """The answers without the proposals of `hits`, see `data.held_out.pairs_of`."""
    lists = answers["proposals"].combine_chunks()
    flat, rows = lists.flatten(), entry_rows(lists)
    items = flat.field("item").fill_null(NOTHING).to_numpy(zero_copy_only=False)
    kept = ~np.isin(pairs_of(answers["user"].to_numpy()[rows], items), hits)
    offsets = offsets_of(np.bincount(rows[kept], minlength=len(answers)))
    proposals = lists_of(offsets, flat.filter(pa.array(kept)))
    return answers.set_column(answers.column_names.index("proposals"), "proposals", proposals)


def preferences(answers: Place, strategy: str, seed: int | None, target: Place) -> int:
    """Write the decided pairs of a strategy as rows of `schema.PREFERENCES` to `target`. Returns their number.

    If a seed is given, the preferred item of each pair is drawn at random, with the same pairs and weights: the control
    for the LLM's preferences. Llama4Rec's triples (`pairs`) join the BPR loss without a weight (arXiv 2401.13870, data
    augmentation). The pairs of other strategies are weighted by the LLM's probability of the preferred item.
    """
    rng, total = np.random.default_rng(seed), 0
    for number, file in enumerate(answers.files(".parquet")):
        table = file.read_table(["user", "proposals"])
        lists = table["proposals"].combine_chunks()
        flat = lists.flatten()
        decided = pc.equal(flat.field("outcome"), ACCEPTED).to_numpy(zero_copy_only=False)
        rows = entry_rows(lists)[decided]
        better, worse, sure = (
            flat.field(name).filter(pa.array(decided)).to_numpy(zero_copy_only=False)
            for name in ("item", "against", "likelihood")
        )
        if seed is not None:
            swapped = rng.random(len(rows)) < 0.5
            better, worse = np.where(swapped, worse, better), np.where(swapped, better, worse)
        columns = [
            pa.array(table["user"].to_numpy()[rows], pa.int32()),
            pa.array(better, pa.int32()),
            pa.array(worse, pa.int32()),
            pa.array([strategy] * len(rows), pa.string()),
            pa.array(np.ones(len(rows)) if strategy == "pairs" else sure, pa.float32()),
        ]
        (target / f"{number:05d}.parquet").write_table(pa.table(columns, schema=PREFERENCES))
        total += len(rows)
    return total


def _pairs(table: pa.Table, outcome: str) -> tuple[np.ndarray, np.ndarray]:
    """Users and items of the proposals with this outcome, for each user the most confident first."""
    lists = table["proposals"].combine_chunks()
    flat = lists.flatten()
    which = pc.equal(flat.field("outcome"), outcome).fill_null(False).to_numpy(zero_copy_only=False)
    users = table["user"].to_numpy()[entry_rows(lists)[which]]
    scores = pc.coalesce(flat.field("confidence"), flat.field("likelihood")).fill_null(0.0)
    order = np.lexsort((-scores.to_numpy(zero_copy_only=False)[which], users))
    items = flat.field("item").fill_null(-1).to_numpy(zero_copy_only=False)[which]
    return users[order], items[order].astype(np.int32)


def _by_user(parts: Iterable[tuple[np.ndarray, np.ndarray]], n_users: int) -> Histories:
    """The items of each user, each once, in the order of `parts`."""
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int32)), *parts]
    users = np.concatenate([part[0] for part in parts]).astype(np.int64)
    items = np.concatenate([part[1] for part in parts])
    first = np.sort(np.unique(users << 32 | items.astype(np.int64), return_index=True)[1])
    users, items = users[first], items[first]
    order = np.argsort(users, kind="stable")
    counts = np.bincount(users, minlength=n_users)
    return Histories(offsets_of(counts), items[order])
