"""The filters of interactions: one rule, applied once to count and once to encode."""

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.arrays import lists_of, offsets_of
from longtail.data.catalogue import NULL_SHARE
from longtail.data.histories import ENCODED
from longtail.data.source import Source
from longtail.data.timeline import TimesSeen, seen
from longtail.data.times import BILLION
from longtail.errors import InputError
from longtail.recipe import Dataset

if TYPE_CHECKING:
    from ray.data import Dataset as Rows

_FIX = {
    "null_user_id": "dataset.columns.user",
    "null_item_id": "dataset.columns.item",
    "null_timestamp": "dataset.columns.time",
    "null_rating": "dataset.columns.rating",
}
_NULL_WORDS = ("null_word_user_id", "null_word_item_id")
LOW_RATING = "rating_below_min"
_DROPPED = pa.list_(pa.struct([("reason", pa.string()), ("rows", pa.int64()), ("first", pa.int64())]))
log = logging.getLogger("longtail")


@dataclass
class Scan:
    """The totals over all rows of READ."""

    rows: int = 0
    dropped: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys([*_FIX, *_NULL_WORDS, LOW_RATING], 0)
    )
    first_dropped: dict[str, int] = field(default_factory=dict)
    items: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    """The distinct item ids of the accepted rows. Only this grows, with the catalogue."""
    times: TimesSeen = field(default_factory=TimesSeen)
    fault: tuple[float, str] = (np.inf, "")
    """The first row that cannot be read, and what is wrong with it."""

    @property
    def accepted(self) -> int:
        return self.rows - sum(self.dropped.values())

    def add(self, summary: dict[str, Any]) -> None:
        """Add one row of `_summary`."""
        if summary["fault"] is not None:
            self.fault = min(self.fault, (summary["fault_row"], summary["fault"]))
        self.rows += summary["rows"]
        for drop in summary["dropped"]:
            reason, first = drop["reason"], drop["first"]
            self.dropped[reason] += drop["rows"]
            self.first_dropped[reason] = min(first, self.first_dropped.get(reason, first))
        self.times += TimesSeen(**summary["times"])


def reasons(block: pa.Table, dataset: Dataset) -> dict[str, np.ndarray]:
    """For each reason, which rows of READ are dropped for it: bool [rows]. No row has two reasons."""
    words = pa.array(dataset.null_words, pa.string())
    missing = {
        "null_user_id": pc.is_null(block["user_id"]),
        "null_item_id": pc.is_null(block["item_id"]),
        "null_word_user_id": pc.is_in(block["user_id"], words),
        "null_word_item_id": pc.is_in(block["item_id"], words),
        "null_timestamp": pc.is_null(block["timestamp"]),
    }
    if dataset.min_rating is not None:
        missing["null_rating"] = pc.is_null(block["rating"])
        missing[LOW_RATING] = pc.fill_null(pc.less(block["rating"], dataset.min_rating), False)
    free = np.ones(block.num_rows, bool)
    found = {}
    for reason, mask in missing.items():
        found[reason] = mask.to_numpy() & free
        free &= ~found[reason]
    return found


def encode(block: pa.Table, item_ids: pa.Array, dataset: Dataset, scale: int) -> pa.Table:
    """The accepted rows of READ as rows of histories.ENCODED; an item's code is its position in `item_ids`.

    scale: that of the times of the log, see `TimesSeen.scale`.
    """
    accepted = ~np.logical_or.reduce(list(reasons(block, dataset).values()))
    kept = block.filter(pa.array(accepted))
    codes = pc.index_in(kept["item_id"], item_ids)
    times = kept["timestamp"].to_numpy() * scale
    if scale == BILLION:
        times = times + kept["fraction"].to_numpy()
    return pa.table([kept["user_id"], codes, times, kept["row"], kept["written"]], schema=ENCODED)


def scan(raw: "Rows", source: Source, dataset: Dataset) -> Scan:
    """Read all rows of READ once and check them.

    Raises InputError for the first row that cannot be read, for a value that is missing in more than 1 % of the rows,
    for an empty table, for both dates and numbers as times, and if no row is left.
    """
    result = Scan()
    summaries = raw.map_batches(
        _summary,
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
        fn_kwargs={"dataset": dataset},
    )
    for batch in summaries.iter_batches(batch_size=None, batch_format="pyarrow"):
        result.items = pa.concat_arrays([result.items, batch["items"].combine_chunks().flatten()]).unique()
        for summary in batch.drop_columns("items").to_pylist():
            result.add(summary)
    if result.fault[1]:
        raise InputError(result.fault[1])
    if not result.rows:
        raise InputError(f"{source.pieces[0].place}: the table is empty. Give one with interactions.")
    _check_dropped(result, source, dataset)
    result.times.check(source.where)
    return result


def _check_dropped(result: Scan, source: Source, dataset: Dataset) -> None:
    for reason, setting in _FIX.items():
        missing = result.dropped[reason]
        if missing > NULL_SHARE * result.rows:
            raise InputError(
                f"{source.where(result.first_dropped[reason])}: no {reason.removeprefix('null_')}, and so in "
                f"{missing} of {result.rows} rows. Mend the table, or set {setting}."
            )
    for reason in _NULL_WORDS:
        if missing := result.dropped[reason]:
            said = (
                f"{source.where(result.first_dropped[reason])}: {reason.removeprefix('null_word_')} is one of "
                f"dataset.null_words, and so in {missing} of {result.rows} rows. "
            )
            if missing == result.rows:
                raise InputError(f"{said}Mend the table, or set dataset.null_words.")
            log.warning("prepare: %sThese rows are dropped.", said)
    if not result.accepted:
        if not result.dropped[LOW_RATING]:
            raise InputError(f"{source.where(0)}: no row has a user and an item. Mend the table.")
        raise InputError(f"dataset.min_rating = {dataset.min_rating} leaves no interactions. Lower it.")


def _summary(block: pa.Table, dataset: Dataset) -> pa.Table:
    """The totals of a block of READ, as one row."""
    faults = block.filter(pc.is_valid(block["fault"]))
    block = block.filter(pc.is_null(block["fault"]))
    found = reasons(block, dataset)
    rows = block["row"].to_numpy()
    dropped = [
        {"reason": reason, "rows": int(mask.sum()), "first": int(rows[mask].min())}
        for reason, mask in found.items()
        if mask.any()
    ]
    accepted = block.filter(pa.array(~np.logical_or.reduce(list(found.values()))))
    items = accepted["item_id"].unique()
    return pa.table(
        {
            "rows": pa.array([block.num_rows], pa.int64()),
            "fault": pa.array(faults["fault"][:1].to_pylist() or [None], pa.string()),
            "fault_row": pa.array(faults["row"][:1].to_pylist() or [None], pa.int64()),
            "dropped": pa.array([dropped], _DROPPED),
            "times": seen(accepted),
            "items": lists_of(offsets_of([len(items)]), items),
        }
    )
