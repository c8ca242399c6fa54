"""From interactions to histories with a split, for whole blocks of users in Arrow and NumPy.

A block holds all rows of its users. Rows of HISTORY carry a user's items and times as lists, oldest first.
"""

import zlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.arrays import entry_rows, lengths_of, lists_of, offsets_of, places_of
from longtail.data.cold_items import held_out
from longtail.data.source import TRAIN
from longtail.recipe import Dataset, Repeats
from longtail.schema import HISTORIES, STRENGTHS

ENCODED = pa.schema(
    [
        *(("user_id", pa.string()), ("item", pa.int32()), ("timestamp", pa.int64()), ("row", pa.int64())),
        ("written", pa.string()),
    ]
)
"""`written` is the time as text if it is finer than `timestamp`, see times.TIMES."""
HISTORY = pa.schema(
    [("user_id", pa.string()), ("items", pa.list_(pa.int32())), ("timestamps", pa.list_(pa.int64()))]
)

SPARSE, REGULAR, ACTIVE = "sparse", "regular", "active"


def fold(interactions: pa.Table, repeats: Repeats = "first") -> pa.Table:
    """One row of HISTORY per user from rows of ENCODED, users in the order of their ids.

    Equal times keep the order of `row`. repeats: of a user's interactions with one item the first or the last is kept, or
    all of them. `split` turns repeats into weights later, when it is known which of them are training interactions.
    """
    if not interactions.num_rows:
        return HISTORY.empty_table()
    encoded = interactions["user_id"].combine_chunks().dictionary_encode()
    names = encoded.dictionary
    order_of_names = pc.array_sort_indices(names).to_numpy()
    rank = np.empty(len(names), np.int64)
    rank[order_of_names] = np.arange(len(names))
    users = rank[encoded.indices.to_numpy()]
    items, times, rows = (interactions[name].to_numpy() for name in ("item", "timestamp", "row"))

    kept = np.lexsort((rows, times, users))
    if repeats in ("first", "last"):
        first = _met_first(users[kept], items[kept], from_the_end=repeats == "last")
        kept = kept[first]
    lengths = np.bincount(users[kept], minlength=len(names))
    return _histories(names.take(pa.array(order_of_names)), lengths, items[kept], times[kept])


def drop(histories: pa.Table, items_out: np.ndarray, users_min: int) -> pa.Table:
    """Drop the items for which items_out [items] is true, then users with fewer than `users_min` items."""
    users, items, times = flat(histories)
    stay = ~items_out[items]
    lengths = np.bincount(users[stay], minlength=histories.num_rows)
    core = np.bincount(users[stay & _met_first(users, items)], minlength=histories.num_rows) >= users_min
    stay &= core[users]
    return _histories(
        histories["user_id"].combine_chunks().filter(pa.array(core)), lengths[core], items[stay], times[stay]
    )


def split(
    histories: pa.Table, dataset: Dataset, cuts: tuple[int, int] | None = None, seed: int = 0
) -> pa.Table:
    """Histories with `train_end`, `valid_end` and the user's `slice`; and schema.STRENGTHS if repeats are weights.

    Leave-one-out: if a user has three or more items, the last is test and the one before it validation; if fewer, all are
    train. Temporal: `cuts` are two times; interactions before the first are train, from the second on they are test.
    Published: `valid_share` of a user's train items (rounded, but not all) are drawn with `seed` as validation. They are
    moved to the end of train; the order is not changed in any other way. Cold: see `cold_items.held_out`; the parts come one
    after the other, and the order within them is not changed.
    """
    strengths = None
    if dataset.repeats in ("all", "weight"):
        histories = _without_late_repeats(histories, dataset, cuts)
    if dataset.repeats == "weight":
        histories, strengths = _with_weights(histories)
    lengths = lengths_of(histories["items"])
    if dataset.split == "temporal":
        users, _, times = flat(histories)
        train_end, valid_end = (np.bincount(users[times < cut], minlength=len(lengths)) for cut in cuts)
    elif dataset.split == "published":
        histories, train_end, valid_end = _hold_out(histories, dataset.valid_share, seed)
    elif dataset.split == "cold":
        histories, train_end, valid_end = _hold_out_cold(histories, dataset.cold_share, seed)
    else:
        distinct = _distinct(histories)
        long = distinct >= 3
        train_end, valid_end = lengths - 2 * long, lengths - long
    histories = (
        histories.append_column("train_end", pa.array(train_end, pa.int32()))
        .append_column("valid_end", pa.array(valid_end, pa.int32()))
        .append_column("slice", user_slices(train_end, dataset))
    )
    return histories if strengths is None else histories.append_column(STRENGTHS, strengths)


def with_more_known(histories: pa.Table, dataset: Dataset, whole: bool) -> pa.Table:
    """Rows of schema.HISTORIES whose validation items are training items now, the latest ones; and the slices by that.

    whole: the test items too. After a cold split the known items are in order of time again.
    """
    ends = lengths_of(histories["items"]) if whole else histories["valid_end"].to_numpy()
    if dataset.split == "cold":
        histories = _in_time(histories, ends)
    known = pa.array(ends, pa.int32())
    for name, column in (("train_end", known), ("valid_end", known), ("slice", user_slices(ends, dataset))):
        histories = histories.set_column(histories.column_names.index(name), name, column)
    return histories


def _in_time(histories: pa.Table, ends: np.ndarray) -> pa.Table:
    """The first `ends` [users] items of each user in order of time, equal times in the order that they have."""
    users, items, times = flat(histories)
    later = places_of(lengths_of(histories["items"])) >= ends[users]
    order = np.lexsort((np.where(later, 0, times), later, users))
    offsets = offsets_of(lengths_of(histories["items"]))
    for name, values, kind in (("items", items, pa.int32()), ("timestamps", times, pa.int64())):
        column = lists_of(offsets, pa.array(values[order], kind))
        histories = histories.set_column(histories.column_names.index(name), name, column)
    return histories


def user_slices(train_end: np.ndarray, dataset: Dataset) -> pa.Array:
    """The slice of every user by the number of training interactions, int [users]."""
    slices = np.full(len(train_end), REGULAR, object)
    slices[train_end >= dataset.active_min] = ACTIVE
    slices[train_end <= dataset.sparse_max] = SPARSE
    return pa.array(slices, pa.string())


def _without_late_repeats(histories: pa.Table, dataset: Dataset, cuts: tuple[int, int] | None) -> pa.Table:
    """Drop the repeats after the training part: a user's held-out items are new to that user.

    The held-out items are then the same as if only first interactions had been kept.
    """
    users, items, times = flat(histories)
    first = _met_first(users, items)
    if dataset.split == "temporal":
        train = times < cuts[0]
    else:
        met = np.cumsum(first)
        met -= (met - first)[np.searchsorted(users, users)]
        distinct = _distinct(histories)[users]
        train = met <= np.where(distinct >= 3, distinct - 2, distinct)
    stay = train | first
    lengths = np.bincount(users[stay], minlength=histories.num_rows)
    return _histories(histories["user_id"].combine_chunks(), lengths, items[stay], times[stay])


def _with_weights(histories: pa.Table) -> tuple[pa.Table, pa.ListArray]:
    """Each item of a user once, at the first interaction with it, and the number of these interactions."""
    users, items, times = flat(histories)
    first = _met_first(users, items)
    _, place, counts = np.unique(
        users.astype(np.int64) << 32 | items, return_inverse=True, return_counts=True
    )
    lengths = np.bincount(users[first], minlength=histories.num_rows)
    once = _histories(histories["user_id"].combine_chunks(), lengths, items[first], times[first])
    return once, lists_of(offsets_of(lengths), pa.array(counts[place][first], pa.int32()))


def _distinct(histories: pa.Table) -> np.ndarray:
    """The number of different items in every history, int64 [users]."""
    users, items, _ = flat(histories)
    return np.bincount(users[_met_first(users, items)], minlength=histories.num_rows)


def _met_first(users: np.ndarray, items: np.ndarray, from_the_end: bool = False) -> np.ndarray:
    """bool [n]: whether an entry is the first (or the last) of its user with its item."""
    pairs = users.astype(np.int64) << 32 | items
    first = np.zeros(len(pairs), bool)
    if from_the_end:
        first[len(pairs) - 1 - np.unique(pairs[::-1], return_index=True)[1]] = True
    else:
        first[np.unique(pairs, return_index=True)[1]] = True
    return first


def _hold_out(histories: pa.Table, share: float, seed: int) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Histories in the order train, validation, test, with the ends of train and of validation, both int [users]."""
    users, items, times = flat(histories)
    n = histories.num_rows
    in_train = times == TRAIN
    valid_end = np.bincount(users[in_train], minlength=n)
    held_out = np.minimum(np.floor(share * valid_end + 0.5).astype(np.int64), np.maximum(valid_end - 1, 0))
    drawn = np.lexsort((random_numbers(histories["user_id"], users, items, seed), ~in_train, users))
    place = np.empty(len(users), np.int64)
    place[drawn] = np.arange(len(users)) - np.searchsorted(users, users[drawn])
    in_valid = in_train & (place < held_out[users])
    order = np.lexsort((in_valid, ~in_train, users))
    lengths = np.bincount(users, minlength=n)
    ordered = _histories(histories["user_id"].combine_chunks(), lengths, items[order], times[order])
    return ordered, valid_end - held_out, valid_end


def _hold_out_cold(histories: pa.Table, share: float, seed: int) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """As `_hold_out`, with cold items."""
    users, items, times = flat(histories)
    part, n = held_out(users, items, share, seed), histories.num_rows
    order = np.lexsort((part, users))
    lengths = np.bincount(users, minlength=n)
    ordered = _histories(histories["user_id"].combine_chunks(), lengths, items[order], times[order])
    return ordered, np.bincount(users[part == 0], minlength=n), np.bincount(users[part < 2], minlength=n)


def random_numbers(user_ids: pa.ChunkedArray, users: np.ndarray, items: np.ndarray, seed: int) -> np.ndarray:
    """A random number uint64 for every interaction. It depends on seed, user id and item, not on the block.

    The finaliser of splitmix64 (Steele, Lea, Flood 2014).
    """
    hashes = np.array([zlib.crc32(name.encode()) for name in user_ids.to_pylist()], np.uint64)
    value = (hashes[users] << np.uint64(32)) + items.astype(np.uint64)
    value += np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
    return value ^ (value >> np.uint64(31))


def recode(histories: pa.Table, codes: np.ndarray) -> pa.Table:
    """Histories with new item codes: item i becomes codes[i]."""
    users, items, times = flat(histories)
    lengths = np.bincount(users, minlength=histories.num_rows)
    return _histories(histories["user_id"].combine_chunks(), lengths, codes[items], times)


def number(histories: pa.Table, starts: dict[str, int]) -> pa.Table:
    """Rows of schema.HISTORIES, with STRENGTHS if they have any.

    starts: the code of the first user of every block, by the id of that user.
    """
    start = starts[histories["user_id"][0].as_py()] if histories.num_rows else 0
    users = pa.array(np.arange(start, start + histories.num_rows), pa.int32())
    has_strengths = STRENGTHS.name in histories.column_names
    schema = HISTORIES.append(STRENGTHS) if has_strengths else HISTORIES
    return pa.table([users, *histories.columns], schema=schema)


def item_counts(histories: pa.Table, n_items: int) -> dict[str, np.ndarray]:
    """Per item, int64 [items]: the number of its `users`, and the `count` of its interactions."""
    users, items, _ = flat(histories)
    first = _met_first(users, items)
    return {
        "users": np.bincount(items[first], minlength=n_items),
        "count": np.bincount(items, minlength=n_items),
    }


def split_counts(histories: pa.Table, n_items: int) -> dict[str, np.ndarray]:
    """Counts of a block. Their sum over all blocks gives the counts of the data set.

    train_count and held_out_count [items]; interactions [all, train, valid, test]; users [sparse, regular, active];
    users_held_out_only [1]: users without a training interaction; users_tested [2]: users with a test interaction, and
    those of them with a training interaction; repeats [1]: interactions with an item that the user's history had before,
    including those that are now a weight.
    """
    users, items, _ = flat(histories)
    position = places_of(lengths_of(histories["items"]))
    train = position < histories["train_end"].to_numpy()[users]
    test = position >= histories["valid_end"].to_numpy()[users]
    slices = histories["slice"].to_numpy(zero_copy_only=False)
    trained = histories["train_end"].to_numpy() > 0
    tested = np.bincount(users[test], minlength=histories.num_rows) > 0
    totals = [len(items), train.sum(), (~train & ~test).sum(), test.sum()]
    return {
        "train_count": np.bincount(items[train], minlength=n_items),
        "held_out_count": np.bincount(items[~train], minlength=n_items),
        "interactions": np.array(totals),
        "users": np.array([(slices == name).sum() for name in (SPARSE, REGULAR, ACTIVE)]),
        "users_held_out_only": np.array([(~trained).sum()]),
        "repeats": np.array([(~_met_first(users, items)).sum() + _repeats_in_weights(histories)]),
        "users_tested": np.array([tested.sum(), (tested & trained).sum()]),
    }


def _repeats_in_weights(histories: pa.Table) -> int:
    """The number of repeats that are now in a weight."""
    if STRENGTHS.name not in histories.column_names:
        return 0
    strengths = histories[STRENGTHS.name].combine_chunks().flatten()
    return (pc.sum(strengths).as_py() or 0) - len(strengths)


def flat(histories: pa.Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row number int64, item int32 and time int64 of every interaction."""
    items = histories["items"].combine_chunks()
    times = histories["timestamps"].combine_chunks()
    return entry_rows(items), items.flatten().to_numpy(), times.flatten().to_numpy()


def _histories(user_ids: pa.Array, lengths: np.ndarray, items: np.ndarray, times: np.ndarray) -> pa.Table:
    offsets = offsets_of(lengths)
    return pa.table(
        {
            "user_id": user_ids,
            "items": lists_of(offsets, pa.array(items, pa.int32())),
            "timestamps": lists_of(offsets, pa.array(times, pa.int64())),
        },
        schema=HISTORY,
    )
