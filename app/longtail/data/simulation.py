"""The simulated store: interactions of users whose true tastes are known, of any size, equal for equal seeds.

Every item has a main taste and perhaps a second one. Every user has one to three. A user stays in a taste for some steps
and takes an item of it by popularity; sometimes it is the usual successor of the item before, and sometimes any popular
item, by accident. Many items arrive late in the year: they are the long tail among the last, held-out items.
`simulate_histories` makes each block of users independently, so a table of all users is never needed.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from longtail.arrays import lists_of, offsets_of
from longtail.data.simulated_items import START, YEAR, Store, item_ids, make_store
from longtail.recipe import Simulation
from longtail.schema import INTERACTIONS
from longtail.workspace.place import Place

if TYPE_CHECKING:
    from ray.data import Dataset

LIKED = 0.25
"""A user truly likes an item whose preference (dot product of the two tastes) is at least this."""

BLOCK_USERS = 5_000
"""Users simulated together. Another number gives other data for the same seed."""

_TASTES_OF_USER = (0.35, 0.4, 0.25)  # share of users with one, two, three tastes
_STAY = 0.7  # chance to remain in the taste of the step before
_SUCCESSOR = 0.15  # chance to take the usual successor of the item before
_CANDIDATES = 10  # draws per step; a user who has had them all repeats one
_POPULAR = 7  # this many of them by popularity, the others by taste, for users who have had the popular items
_MIN_HISTORY = 4
_MAX_HISTORY = 400


def user_tastes(simulation: Simulation, seed: int, users: np.ndarray) -> np.ndarray:
    """Taste of each user number [n]: float32 [n, tastes], rows sum to 1.

    It depends on the seed and the number only, so it can be computed for any user in any block.
    """
    uniform = _uniform(seed, users, 4 + simulation.tastes)
    many = 1 + np.searchsorted(np.cumsum(_TASTES_OF_USER)[:2], uniform[:, 0], side="right")
    chosen = np.argsort(uniform[:, 4:], axis=1, kind="stable")[:, :3]
    used = np.arange(chosen.shape[1]) < many[:, None]
    weights = (0.5 + uniform[:, 1:4])[:, : chosen.shape[1]] * used
    taste = np.zeros((len(users), simulation.tastes), np.float32)
    np.put_along_axis(taste, chosen, weights / weights.sum(axis=1, keepdims=True), axis=1)
    return taste


def liked(user_taste: np.ndarray, item_taste: np.ndarray) -> np.ndarray:
    """Whether users [..., tastes] truly like items [..., tastes]: bool in the broadcast leading shape."""
    return np.einsum("...t,...t->...", user_taste, item_taste) >= LIKED


def write_truth(place: Place, histories: "Dataset", simulation: Simulation, seed: int) -> None:
    """Write the true tastes by the codes of `histories` (rows of schema.HISTORIES).

    users/ has user int32 and taste list<float32> [tastes], items.parquet item int32 and taste.
    """

    def tastes(block: pa.Table) -> pa.Table:
        numbers = np.array([int(user_id[1:]) for user_id in block["user_id"].to_pylist()], np.int64)
        return pa.table({"user": block["user"], "taste": _lists(user_tastes(simulation, seed, numbers))})

    rows = histories.map_batches(tastes, batch_size=None, batch_format="pyarrow")
    rows.write_parquet((place / "users").path, filesystem=place.fs)
    taste = make_store(simulation, seed).taste
    items = pa.array(np.arange(len(taste)), pa.int32())
    (place / "items.parquet").write_table(pa.table({"item": items, "taste": _lists(taste)}))


def simulate_histories(simulation: Simulation, seed: int, block: int) -> pa.Table:
    """All interactions of the users of one block: rows of schema.INTERACTIONS, in order of time for each user."""
    store = make_store(simulation, seed)
    rng = np.random.default_rng([seed, 2, block])
    first = block * BLOCK_USERS
    users = rng.permutation(np.arange(first, min(first + BLOCK_USERS, simulation.users)))
    lengths = np.sort(_lengths(simulation, len(users), rng))[::-1]
    times = _times(lengths, rng)
    histories = _walk(store, simulation.noise, user_tastes(simulation, seed, users), times, lengths, rng)
    taken = histories >= 0
    numbers = np.repeat(users, taken.sum(axis=1))
    return pa.table(
        {
            "user_id": pa.array([f"u{number}" for number in numbers], pa.string()),
            "item_id": item_ids(histories[taken]),
            "timestamp": times[taken].astype(np.int64),
            "rating": pa.nulls(len(numbers), pa.float32()),
        },
        schema=INTERACTIONS,
    )


def of_store(rows: pa.Table, simulation: Simulation) -> pa.Table:
    """The rows, with columns user_id and item_id, without users and items that the store does not have: it has no true
    taste of them.
    """
    known = pc.is_in(rows["item_id"], item_ids(np.arange(simulation.items)))
    numbered = pc.match_substring_regex(rows["user_id"], r"^u(0|[1-9]\d{0,8})$")
    rows = rows.filter(pc.and_(known, numbered))
    numbers = pc.utf8_slice_codeunits(rows["user_id"], 1).cast(pa.int64())
    return rows.filter(pc.less(numbers, simulation.users))


def _lengths(simulation: Simulation, n: int, rng: np.random.Generator) -> np.ndarray:
    """Skewed history lengths int64 [n]: log-normal above the minimum, so many users are sparse and few active."""
    longest = min(_MAX_HISTORY, max(_MIN_HISTORY, simulation.items // 4))
    beyond = rng.lognormal(-0.5, 1.0, n) * (
        simulation.mean_history - _MIN_HISTORY
    )  # exp(-0.5): the mean stays 1
    return np.minimum(_MIN_HISTORY + np.round(beyond).astype(np.int64), longest)


def _times(lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unix seconds float64 [users, longest]: random times from the day on which a user joins to the end of the year."""
    elapsed = np.cumsum(rng.exponential(size=(len(lengths), lengths[0] + 1)), axis=1)
    whole = np.take_along_axis(elapsed, lengths[:, None], axis=1)
    joined = rng.uniform(0, 0.8, (len(lengths), 1)) * YEAR
    return START + joined + (YEAR - joined) * elapsed[:, :-1] / whole


def _walk(
    store: Store,
    noise: float,
    tastes: np.ndarray,
    times: np.ndarray,
    lengths: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Items int32 [users, longest], -1 if no item was taken; `lengths` must not increase.

    A step takes the first candidate that has arrived and is new to the user. If there is none, it repeats a candidate that
    has arrived. If there is none either, it takes no item.
    """
    histories = np.full((len(lengths), lengths[0]), -1, np.int32)
    preference = np.cumsum(tastes, axis=1, dtype=np.float64)
    preference /= preference[:, -1:]
    taste = np.zeros(len(lengths), np.int64)
    for step in range(lengths[0]):
        n = int(np.searchsorted(-lengths, -step, side="left"))  # users whose history goes on
        stay = (rng.random(n) < _STAY) & (step > 0)
        fresh = (rng.random((n, 1)) >= preference[:n]).sum(axis=1)
        taste[:n] = np.where(stay, taste[:n], fresh)
        uniform = rng.random((n, _CANDIDATES))
        candidates = store.by_popularity.draw(taste[:n, None], uniform)
        candidates[:, _POPULAR:] = store.by_taste.draw(taste[:n, None], uniform[:, _POPULAR:])
        follow = (rng.random(n) < _SUCCESSOR) & stay & (histories[:n, step - 1] >= 0)
        candidates[follow, 0] = store.successor[histories[:n][follow, step - 1]]
        accident = rng.random(n) < noise
        candidates[accident] = store.by_accident.draw(np.zeros(1, np.int64), uniform[accident])
        met = (candidates[:, :, None] == histories[:n, None, :step]).any(axis=2)
        absent = store.arrival[candidates] > times[:n, step, None]
        best = np.argmin(met + 2 * absent, axis=1)
        taken, nothing = candidates[np.arange(n), best], absent[np.arange(n), best]
        histories[:n, step] = np.where(nothing, -1, taken)
    return histories


def _uniform(seed: int, users: np.ndarray, draws: int) -> np.ndarray:
    """Uniform numbers [users, draws] in [0, 1): a hash of seed, user and draw."""
    start = pd.util.hash_array(np.array([seed], np.uint64))[0]
    keys = start + users.astype(np.uint64)[:, None] * np.uint64(draws) + np.arange(draws, dtype=np.uint64)
    return (pd.util.hash_array(keys.ravel()) >> np.uint64(11)).reshape(keys.shape) * 2.0**-53


def _lists(rows: np.ndarray) -> pa.ListArray:
    """Rows of a float matrix as an Arrow list column."""
    return lists_of(offsets_of(np.full(*rows.shape)), pa.array(rows.ravel(), pa.float32()))
