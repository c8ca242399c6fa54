"""The pairs that the gate asks about: an item that a user took in validation, and a random one that the user did not."""

import numpy as np
import pyarrow as pa

from longtail.arrays import views_of
from longtail.augment.strategies.strategy import prompt_column, rng_of
from longtail.data.catalogue import COLD
from longtail.workspace.place import Place

PAIRS = 2000
"""The most pairs of a gate: the standard error of an accuracy is .01 then."""
DRAWS = 64
"""Tries to draw an item that a user did not take."""


def validation_pairs(histories: Place, items: pa.Table, pool: np.ndarray, seed: int) -> pa.Table:
    """At most PAIRS pairs of the users of one file of `schema.HISTORIES`: user, user_id, history, shown (the item taken and
    the other one), and `lot`. The first pairs by lot, of all files together, are those of the gate. Runs as a Ray task.

    pool int: the items that the strategy asks about. Pairs whose item taken is one of them come first; of cold items there
    are few in validation, or none. The other item is drawn from the items of the same kind, cold or not.
    """
    cold = np.asarray(items["slice"].to_pylist()) == COLD
    kinds = {bool(kind): np.flatnonzero(cold == kind).astype(np.int32) for kind in (False, True)}
    asked = np.zeros(len(cold), bool)
    asked[pool] = True
    table = histories.read_table(["user", "user_id", "items", "train_end", "valid_end"]).combine_chunks()
    columns = (table[name].to_pylist() for name in ("user", "user_id", "train_end", "valid_end"))
    rows = []
    for own, (user, user_id, train, valid) in zip(
        views_of(table["items"].combine_chunks()), zip(*columns, strict=True), strict=True
    ):
        if not 0 < train < valid:
            continue
        history, known, rng = own[:train], own[:valid], rng_of(seed, user)
        for item in np.setdiff1d(own[train:valid], history):
            lot, drawn = rng.random(), rng.choice(kinds[bool(cold[item])], DRAWS)
            free = drawn[~np.isin(drawn, known)]
            if len(free):
                shown = np.array([item, free[0]], np.int32)
                rows.append((lot + (not asked[item]), user, user_id, history, shown))
    return _first([_table(rows)])


def together(*parts: pa.Table) -> pa.Table:
    """The pairs of the gate, from those of each file. Runs as a Ray task."""
    return _first(parts)


def _first(parts: list[pa.Table] | tuple[pa.Table, ...]) -> pa.Table:
    return pa.concat_tables(parts).sort_by([("lot", "ascending"), ("user", "ascending")]).slice(0, PAIRS)


def _table(rows: list[tuple]) -> pa.Table:
    lots, users, ids, histories, shown = zip(*rows, strict=True) if rows else ((),) * 5
    return pa.table(
        {
            "lot": pa.array(lots, pa.float64()),
            "user": pa.array(users, pa.int32()),
            "user_id": pa.array(ids, pa.string()),
            "history": prompt_column(list(histories)),
            "shown": prompt_column(list(shown)),
        }
    )
