"""The catalogue: clean texts, dense codes, slices by popularity. It is held in memory; users are not."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.data.source import CATALOGUE
from longtail.errors import InputError
from longtail.schema import ITEMS

TITLE_MAX = 300
"""Longer texts are cut here, in characters."""

_INVISIBLE = r"[\x{AD}\x{FEFF}\x{202A}-\x{202E}\x{2066}-\x{2069}]+"
HEAD, MID, TAIL, COLD = "head", "mid", "tail", "cold"
SLICES = (HEAD, MID, TAIL, COLD)
NULL_SHARE = 0.01
"""Rows without an id are dropped and counted up to this share of a table; more are an error."""


def clean_catalogue(
    listed: pa.Table, name: str, null_words: Sequence[str] = ()
) -> tuple[pa.Table, dict[str, int]]:
    """Distinct items of the catalogue `name` with clean texts, and how many rows were changed, by reason.

    Rows whose id is one of `null_words` are dropped. Raises InputError if more than 1 % of the rows have no item id.
    """
    ids = listed["item_id"]
    nulls = ids.null_count
    if nulls > NULL_SHARE * listed.num_rows:
        raise InputError(
            f"{name}: {nulls} of {listed.num_rows} rows have no item id, the first is row "
            f"{pc.index(pc.is_null(ids), True).as_py() + 1}. Mend the table, or set dataset.columns.item."
        )
    words = pc.is_in(ids, pa.array(null_words, pa.string()))
    named = listed.filter(pc.and_not(pc.is_valid(ids), words))
    first = np.unique(_codes(named["item_id"]), return_index=True)[1]
    kept = named.take(pa.array(np.sort(first)))
    titles, changes = clean_text(kept["title"].combine_chunks(), "title")
    attributes = kept["attributes"].combine_chunks()
    values, attribute_changes = clean_text(attributes.items, "attribute")
    maps = pa.MapArray.from_arrays(attributes.offsets, attributes.keys, pc.fill_null(values, ""))
    counts = (
        {
            "item_null_id": nulls,
            "item_null_word": pc.sum(words).as_py() or 0,
            "item_duplicate": named.num_rows - kept.num_rows,
        }
        | changes
        | attribute_changes
    )
    return pa.table([kept["item_id"], titles, maps], schema=CATALOGUE), counts


def clean_text(text: pa.Array, name: str) -> tuple[pa.Array, dict[str, int]]:
    """Texts in one line, cut at TITLE_MAX, null if they have no visible character; and how many each rule changed.

    Control characters become blanks. Format characters stay, because they join letters and emoji. Exceptions are those that
    show nothing (soft hyphen, byte order mark) and those that change the direction of the text after them.
    """
    plain = pc.replace_substring_regex(text, _INVISIBLE, "")
    plain = pc.replace_substring_regex(plain, r"[\p{Cc}\p{Zl}\p{Zp}]+", " ")
    trimmed = pc.utf8_trim_whitespace(plain)
    cut = pc.utf8_slice_codeunits(trimmed, 0, TITLE_MAX)
    empty = pc.invert(pc.match_substring_regex(cut, r"[^\p{Cf}\p{Z}\p{Mn}]"))
    counts = {
        f"{name}_control": _changed(text, plain),
        f"{name}_cut": _changed(trimmed, cut),
        f"{name}_empty": pc.sum(empty).as_py() or 0,
    }
    return pc.if_else(empty, pa.scalar(None, pa.string()), cut), counts


def with_unlisted(listed: pa.Table, interacted: pa.Array) -> tuple[pa.Table, int]:
    """The items of the catalogue, then the items of the log that are not in it, sorted by id; and the number of these."""
    unlisted = interacted.filter(pc.invert(pc.is_in(interacted, listed["item_id"].combine_chunks())))
    unlisted = unlisted.take(pc.array_sort_indices(unlisted))
    added = pa.table(
        [
            unlisted,
            pa.nulls(len(unlisted), pa.string()),
            pa.array([[]] * len(unlisted), CATALOGUE.field("attributes").type),
        ],
        schema=CATALOGUE,
    )
    return pa.concat_tables([listed, added]), len(unlisted)


def items_table(catalogue: pa.Table, train_count: np.ndarray, tail_max: int, head_share: float) -> pa.Table:
    """Rows of schema.ITEMS; train_count int [items]."""
    return pa.table(
        [
            pa.array(np.arange(catalogue.num_rows), pa.int32()),
            *catalogue.columns,
            pa.array(train_count, pa.int32()),
            pa.array(item_slices(train_count, tail_max, head_share), pa.string()),
        ],
        schema=ITEMS,
    )


def item_slices(train_count: np.ndarray, tail_max: int, head_share: float) -> np.ndarray:
    """The slice of every item, object [items].

    cold: no training interaction. tail: 1..tail_max training interactions. head: those of the most popular `head_share`
    of the warm items that are not tail; equally popular items are taken in the order of their codes. mid: the rest.
    """
    slices = np.full(len(train_count), MID, object)
    popular = np.argsort(-train_count, kind="stable")[: round(head_share * np.count_nonzero(train_count))]
    slices[popular] = HEAD
    slices[train_count <= tail_max] = TAIL
    slices[train_count == 0] = COLD
    return slices


def slice_codes(names: pa.ChunkedArray, known: Sequence[str] = SLICES) -> np.ndarray:
    """Names of slices, such as the column `slice` of schema.ITEMS, as indices in `known`: int32 [names].

    Raises ValueError for a name that is not known.
    """
    codes = pc.index_in(names, value_set=pa.array(known))
    if codes.null_count:
        strange = pc.unique(names.filter(pc.is_null(codes))).to_pylist()
        raise ValueError(f"unknown slices {strange}; known are {list(known)}")
    return codes.to_numpy()


def _codes(ids: pa.ChunkedArray) -> np.ndarray:
    return ids.combine_chunks().dictionary_encode().indices.to_numpy()


def _changed(before: pa.Array, after: pa.Array) -> int:
    return pc.sum(pc.not_equal(before, after)).as_py() or 0
