"""The simulated store: interactions whose true preferences are known, of any size, equal for equal seeds.

Every item has a main taste and perhaps a second, every user one to three. A user stays in a taste for some steps and
takes an item of it by popularity, sometimes the usual successor of the item before, sometimes by accident any popular item.
Many items arrive late in the year: they are the long tail that the last, held-out steps meet. Nothing here is a table
of all users: `simulate_histories` makes any block of users alone.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from app.data.vocabulary import item_titles, taste_names
from app.errors import InputError
from app.recipe import Simulation
from app.schema import INTERACTIONS
from app.workspace import Place

if TYPE_CHECKING:
    from ray.data import Dataset

LIKED = 0.25
"""A user truly likes an item whose preference (dot product of the two tastes) is at least this."""

BLOCK_USERS = 5_000
"""Users simulated together; part of what the seed means."""

_SECOND_TASTE = 0.4  # share of items that have one
_TASTES_OF_USER = (0.35, 0.4, 0.25)  # share of users with one, two, three tastes
_STAY = 0.7  # chance to remain in the taste of the step before
_SUCCESSOR = 0.15  # chance to take the usual successor of the item before
_ARRIVALS = 0.5  # share of items that are not there from the start
_ARRIVE_FROM = 0.8  # they arrive evenly from this part of the year to its end
_CANDIDATES = 10  # draws per step; a user who has met them all repeats one
_POPULAR = 7  # so many of them by popularity, the others by taste alone: who has met the popular explores
_MIN_HISTORY = 4
_MAX_HISTORY = 400
_YEAR = 365 * 86_400
_START = 1_704_067_200  # 2024-01-01, Unix seconds


@dataclass(frozen=True)
class Choices:
    """Weighted choice within groups by inverse distribution: items int32 [n] lie group after group, cdf float64 [n]
    grows from g to g + 1 within group g."""

    items: np.ndarray
    cdf: np.ndarray

    @classmethod
    def of(cls, weights: np.ndarray) -> "Choices":
        """From weights [groups, items]; every group needs one that is above 0."""
        groups, items = np.nonzero(weights)
        chosen = weights[groups, items]
        total = np.cumsum(chosen / weights.sum(axis=1)[groups])
        return cls(items.astype(np.int32), total)

    def draw(self, groups: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """One item per entry of `groups`, steered by uniform numbers in [0, 1) of the same shape."""
        place = np.searchsorted(self.cdf, groups + uniform, side="right")
        return self.items[np.minimum(place, len(self.items) - 1)]


@dataclass(frozen=True)
class Store:
    """The catalogue's hidden side: taste float32 [items, tastes], the usual successor int32 [items]."""

    taste: np.ndarray
    successor: np.ndarray
    arrival: np.ndarray  # float64 [items], Unix seconds; infinite for items that nobody has met
    main: np.ndarray  # int64 [items]
    second: np.ndarray  # int64 [items]; equal to main where there is none
    by_popularity: Choices  # popular items of a taste; groups are tastes
    by_taste: Choices  # any item of a taste; groups are tastes
    by_accident: Choices  # popular items of any; one group


@lru_cache(maxsize=1)
def make_store(simulation: Simulation, seed: int) -> Store:
    """The items of a store. Raises InputError where there are fewer items with interactions than tastes."""
    n, tastes = simulation.items, simulation.tastes
    warm = n - round(n * simulation.new_items)
    if warm < max(2, tastes):
        raise InputError(
            f"dataset.simulation: {warm} of {n} items have interactions, for {tastes} tastes. "
            "Raise items, or lower tastes or new_items."
        )
    rng = np.random.default_rng([seed, 0])
    rank = rng.permutation(n)
    # Each run of `tastes` neighbours in the ranking holds every taste once, so no taste owns the popular items.
    tiers = rng.permuted(np.tile(np.arange(tastes), (-(-n // tastes), 1)), axis=1).ravel()
    main = tiers[rank]
    second = np.where(rng.random(n) < _SECOND_TASTE, rng.integers(0, tastes, n), main)
    strength = np.where(second == main, 1.0, rng.uniform(0.6, 0.9, n))
    taste = np.zeros((n, tastes), np.float32)
    taste[np.arange(n), second] = 1 - strength
    taste[np.arange(n), main] = strength
    new = rank >= warm
    popularity = np.where(new, 0.0, 1.0 / (rank + 1.0) ** simulation.zipf)
    by_popularity = Choices.of((taste * popularity[:, None]).T)
    arrival = np.where(rng.random(n) < _ARRIVALS, rng.uniform(_ARRIVE_FROM, 1.0, n), 0.0)
    return Store(
        taste=taste,
        successor=by_popularity.draw(main, rng.random(n)),
        arrival=np.where(new, np.inf, _START + _YEAR * arrival),
        main=main,
        second=second,
        by_popularity=by_popularity,
        by_taste=Choices.of((taste * ~new[:, None]).T),
        by_accident=Choices.of(popularity[None, :]),
    )


def catalogue(store: Store, seed: int) -> pa.Table:
    """item_id, title, attributes of every item, new ones too."""
    titles = item_titles(store.main, store.second, store.taste.shape[1], np.random.default_rng([seed, 1]))
    names = taste_names(store.taste.shape[1])
    return pa.table(
        {
            "item_id": item_ids(np.arange(len(titles))),
            "title": pa.array(titles, pa.string()),
            "attributes": pa.array(
                [[("category", names[main])] for main in store.main], pa.map_(pa.string(), pa.string())
            ),
        }
    )


def item_ids(items: np.ndarray) -> pa.Array:
    return pa.array([f"i{item}" for item in items], pa.string())


def user_numbers(user_ids: pa.ChunkedArray | pa.Array) -> np.ndarray:
    """The int64 numbers in the simulated user ids: `u17` is 17."""
    return np.array([int(user_id[1:]) for user_id in user_ids.to_pylist()], np.int64)


def user_tastes(simulation: Simulation, seed: int, users: np.ndarray) -> np.ndarray:
    """Taste of each user number [n]: float32 [n, tastes], rows sum to 1. A function of seed and number alone, so
    that the truth of any user can be told wherever the user ends up."""
    tastes = simulation.tastes
    uniform = _uniform(seed, users, 4 + tastes)
    many = 1 + np.searchsorted(np.cumsum(_TASTES_OF_USER)[:2], uniform[:, 0], side="right")
    chosen = np.argsort(uniform[:, 4:], axis=1, kind="stable")[:, :3]
    weights = (0.5 + uniform[:, 1:4])[:, : chosen.shape[1]] * (np.arange(chosen.shape[1]) < many[:, None])
    taste = np.zeros((len(users), tastes), np.float32)
    np.put_along_axis(taste, chosen, weights / weights.sum(axis=1, keepdims=True), axis=1)
    return taste


def liked(user_taste: np.ndarray, item_taste: np.ndarray) -> np.ndarray:
    """Whether users [..., tastes] truly like items [..., tastes]: bool of the broadcast leading shape."""
    return np.einsum("...t,...t->...", user_taste, item_taste) >= LIKED


def write_truth(place: Place, histories: "Dataset", simulation: Simulation, seed: int) -> None:
    """Write the true tastes by the codes of `histories` (rows of schema.HISTORIES): users/ and items.parquet."""

    def tastes(block: pa.Table) -> pa.Table:
        taste = user_tastes(simulation, seed, user_numbers(block["user_id"]))
        return pa.table({"user": block["user"], "taste": _lists(taste)})

    rows = histories.map_batches(tastes, batch_size=None, batch_format="pyarrow")
    rows.write_parquet((place / "users").path, filesystem=place.fs)
    taste = make_store(simulation, seed).taste
    (place / "items.parquet").write_table(pa.table({"item": pa.array(np.arange(len(taste)), pa.int32()), "taste": _lists(taste)}))


def _lists(rows: np.ndarray) -> pa.ListArray:
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(offsets, pa.array(rows.ravel(), pa.float32()))


def simulate_histories(store: Store, simulation: Simulation, seed: int, block: int) -> pa.Table:
    """All interactions of the users of one block, as `schema.INTERACTIONS`, each user's in the order of time."""
    users = np.arange(block * BLOCK_USERS, min((block + 1) * BLOCK_USERS, simulation.users))
    rng = np.random.default_rng([seed, 2, block])
    users = rng.permutation(users)
    lengths = np.sort(_lengths(simulation, len(users), rng))[::-1]
    times = _times(lengths, rng)
    histories = _walk(store, simulation, user_tastes(simulation, seed, users), times, lengths, rng)
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


def _lengths(simulation: Simulation, n: int, rng: np.random.Generator) -> np.ndarray:
    """Skewed history lengths int64 [n]: log-normal above the shortest, so that most users are sparse and few active."""
    beyond = simulation.mean_history - _MIN_HISTORY
    longest = min(_MAX_HISTORY, max(_MIN_HISTORY, simulation.items // 4))
    sigma = 1.0
    drawn = rng.lognormal(-(sigma**2) / 2, sigma, n) * max(beyond, 0.0)
    return np.minimum(_MIN_HISTORY + np.round(drawn).astype(np.int64), longest)


def _times(lengths: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Unix seconds float64 [users, longest]: from the day a user joins, at random to the end of the year."""
    elapsed = np.cumsum(rng.exponential(size=(len(lengths), lengths[0] + 1)), axis=1)
    whole = np.take_along_axis(elapsed, lengths[:, None], axis=1)
    joined = rng.uniform(0, 0.8, (len(lengths), 1)) * _YEAR
    return _START + joined + (_YEAR - joined) * elapsed[:, :-1] / whole


def _walk(
    store: Store,
    simulation: Simulation,
    tastes: np.ndarray,
    times: np.ndarray,
    lengths: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Items int32 [users, longest], -1 where nothing was taken. `lengths` must not increase.

    A step takes the first candidate that is on sale and not yet met, else repeats one, else takes nothing."""
    histories = np.full((len(lengths), lengths[0]), -1, np.int32)
    preference = np.cumsum(tastes, axis=1, dtype=np.float64)
    preference /= preference[:, -1:]
    taste = np.zeros(len(lengths), np.int64)
    for step in range(lengths[0]):
        n = int(np.searchsorted(-lengths, -step, side="left"))
        stay = (rng.random(n) < _STAY) & (step > 0)
        fresh = (rng.random((n, 1)) >= preference[:n]).sum(axis=1)
        taste[:n] = np.where(stay, taste[:n], fresh)
        uniform = rng.random((n, _CANDIDATES))
        candidates = store.by_popularity.draw(taste[:n, None], uniform)
        candidates[:, _POPULAR:] = store.by_taste.draw(taste[:n, None], uniform[:, _POPULAR:])
        follow = (rng.random(n) < _SUCCESSOR) & stay & (histories[:n, step - 1] >= 0)
        candidates[follow, 0] = store.successor[histories[:n][follow, step - 1]]
        accident = rng.random(n) < simulation.noise
        candidates[accident] = store.by_accident.draw(np.zeros(1, np.int64), uniform[accident])
        met = (candidates[:, :, None] == histories[:n, None, :step]).any(axis=2)
        absent = store.arrival[candidates] > times[:n, step, None]
        best = np.argmin(met + 2 * absent, axis=1)
        taken, nothing = candidates[np.arange(n), best], absent[np.arange(n), best]
        histories[:n, step] = np.where(nothing, -1, taken)
    return histories


def _uniform(seed: int, users: np.ndarray, draws: int) -> np.ndarray:
    """Uniform numbers [users, draws] in [0, 1), a hash of seed, user and draw."""
    start = pd.util.hash_array(np.array([seed], np.uint64))[0]
    keys = start + users.astype(np.uint64)[:, None] * np.uint64(draws) + np.arange(draws, dtype=np.uint64)
    return (pd.util.hash_array(keys.ravel()) >> np.uint64(11)).reshape(keys.shape) * 2.0**-53
