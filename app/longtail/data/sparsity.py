"""Sparsity on purpose: histories cut to their latest interactions, and items thinned to a few users, in the training part.

It shows how a method fares if data are thinner than they are. Held-out items are never touched, so all cuts of one log have
the same targets. A smaller cut keeps a part of what a larger one keeps.
"""

import numpy as np
import pyarrow as pa

from longtail.arrays import lengths_of, lists_of, offsets_of, places_of
from longtail.data.histories import flat, random_numbers, user_slices
from longtail.recipe import Dataset
from longtail.schema import STRENGTHS

ALL = np.iinfo(np.uint64).max


def shorten(histories: pa.Table, dataset: Dataset) -> pa.Table:
    """Histories with a split, of which only the latest `history_max` training interactions are left."""
    users, _, _ = flat(histories)
    places = places_of(lengths_of(histories["items"]))
    return _keep(
        histories, places >= (histories["train_end"].to_numpy() - dataset.history_max)[users], dataset
    )


def smallest_numbers(histories: pa.Table, count: int, seed: int) -> pa.Table:
    """The `count` smallest random numbers of the training users of each item, as rows of item and number."""
    items, numbers = _drawn(histories, seed)
    return pa.table(_smallest(items, numbers, count))


def thresholds(blocks: list[pa.Table], n_items: int, count: int) -> np.ndarray:
    """The largest number that stays, of each item: uint64 [items]. blocks: the `smallest_numbers` of all histories."""
    merged = pa.concat_tables(blocks)
    found = _smallest(merged["item"].to_numpy(), merged["number"].to_numpy(), count)
    limits = np.full(n_items, ALL, np.uint64)
    many = np.bincount(found["item"], minlength=n_items) >= count
    last = np.zeros(n_items, np.uint64)
    np.maximum.at(last, found["item"], found["number"])
    limits[many] = last[many]
    return limits


def thin(histories: pa.Table, limits: np.ndarray, dataset: Dataset, seed: int) -> pa.Table:
    """Histories without the training interactions whose random number is above the limit of their item.

    limits: uint64 [items], see `thresholds`.
    """
    users, items, _ = flat(histories)
    held_out = places_of(lengths_of(histories["items"])) >= histories["train_end"].to_numpy()[users]
    numbers = random_numbers(histories["user_id"], users, items, seed)
    return _keep(histories, held_out | (numbers <= limits[items]), dataset)


def _drawn(histories: pa.Table, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The item and the random number of each training interaction."""
    users, items, _ = flat(histories)
    trained = places_of(lengths_of(histories["items"])) < histories["train_end"].to_numpy()[users]
    return items[trained], random_numbers(histories["user_id"], users, items, seed)[trained]


def _smallest(items: np.ndarray, numbers: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """The `count` smallest distinct numbers of each item. A user who took an item twice has one number for it."""
    order = np.lexsort((numbers, items))
    items, numbers = items[order], numbers[order]
    new = np.ones(len(items), bool)
    new[1:] = (items[1:] != items[:-1]) | (numbers[1:] != numbers[:-1])
    items, numbers = items[new], numbers[new]
    place = np.arange(len(items)) - np.searchsorted(items, items)
    return {"item": items[place < count], "number": numbers[place < count]}


def _keep(histories: pa.Table, stay: np.ndarray, dataset: Dataset) -> pa.Table:
    """Only the interactions for which `stay` is true, bool [interactions]; held-out ones must stay."""
    users, _, _ = flat(histories)
    offsets = offsets_of(np.bincount(users[stay], minlength=histories.num_rows))
    gone = np.bincount(users[~stay], minlength=histories.num_rows)
    train_end = histories["train_end"].to_numpy() - gone
    columns = {
        "train_end": pa.array(train_end, pa.int32()),
        "valid_end": pa.array(histories["valid_end"].to_numpy() - gone, pa.int32()),
        "slice": user_slices(train_end, dataset),
    }
    for name in ("items", "timestamps", STRENGTHS.name):
        if name in histories.column_names:
            values = histories[name].combine_chunks().flatten().filter(pa.array(stay))
            columns[name] = lists_of(offsets, values)
    for name, column in columns.items():
        histories = histories.set_column(histories.column_names.index(name), name, column)
    return histories
