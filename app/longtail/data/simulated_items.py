"""The items of the simulated store: their tastes, popularity and arrival, and their catalogue."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from longtail.data.source import CATALOGUE
from longtail.data.title_words import item_categories, item_titles
from longtail.errors import InputError
from longtail.recipe import Simulation

START = 1_704_067_200
"""The year of the store begins here: 2024-01-01, Unix seconds."""
YEAR = 365 * 86_400

_SECOND_TASTE = 0.4  # share of items with a second taste
_ARRIVALS = 0.5  # share of items that are not there from the start
_ARRIVE_FROM = 0.8  # these arrive from this part of the year to its end, evenly spread


@dataclass(frozen=True)
class Choices:
    """Weighted choice within groups, by inverting the distribution.

    items int32 [n] are sorted by group; cdf float64 [n] grows from g to g + 1 within group g.
    """

    items: np.ndarray
    cdf: np.ndarray

    @classmethod
    def of(cls, weights: np.ndarray) -> "Choices":
        """From weights [groups, items]. Every group needs a weight above 0."""
        groups, items = np.nonzero(weights)
        shares = weights[groups, items] / weights.sum(axis=1)[groups]
        return cls(items.astype(np.int32), np.cumsum(shares))

    def draw(self, groups: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Items int32 from groups int and uniform numbers in [0, 1), in their broadcast shape."""
        place = np.searchsorted(self.cdf, groups + uniform, side="right")
        return self.items[np.minimum(place, len(self.items) - 1)]


@dataclass(frozen=True)
class Store:
    """The hidden side of the items; every array has one row or entry per item."""

    taste: np.ndarray  # float32 [items, tastes], rows sum to 1
    main: np.ndarray  # the stronger taste
    second: np.ndarray  # the weaker taste; equal to `main` if there is none
    arrival: np.ndarray  # Unix seconds; infinite for new items, which have no interactions
    successor: np.ndarray  # int32, the item that is usually taken next
    by_popularity: Choices  # popular items of a taste; groups are tastes
    by_taste: Choices  # any item of a taste; groups are tastes
    by_accident: Choices  # popular items of any taste; one group


@lru_cache(maxsize=1)
def make_store(simulation: Simulation, seed: int) -> Store:
    """The items of a store. Raises InputError if fewer items than tastes have interactions."""
    n, tastes = simulation.items, simulation.tastes
    warm = n - round(n * simulation.new_items)
    if warm < max(2, tastes):
        raise InputError(
            f"dataset.simulation: {warm} of {n} items have interactions, for {tastes} tastes. "
            "Raise items, or lower tastes or new_items."
        )
    rng = np.random.default_rng([seed, 0])
    rank = rng.permutation(n)
    # Each block of `tastes` ranks has every taste once, so the popular items are of all tastes.
    main = rng.permuted(np.tile(np.arange(tastes), (-(-n // tastes), 1)), axis=1).ravel()[rank]
    second = np.where(rng.random(n) < _SECOND_TASTE, rng.integers(0, tastes, n), main)
    strength = np.where(second == main, 1.0, rng.uniform(0.6, 0.9, n))
    taste = np.zeros((n, tastes), np.float32)
    taste[np.arange(n), second] = 1 - strength
    taste[np.arange(n), main] = strength
    new = rank >= warm
    popularity = np.where(new, 0.0, 1.0 / (rank + 1.0) ** simulation.zipf)
    by_popularity = Choices.of((taste * popularity[:, None]).T)
    successor = by_popularity.draw(main, rng.random(n))
    arrival = np.where(rng.random(n) < _ARRIVALS, rng.uniform(_ARRIVE_FROM, 1.0, n), 0.0)
    return Store(
        taste=taste,
        main=main,
        second=second,
        arrival=np.where(new, np.inf, START + YEAR * arrival),
        successor=successor,
        by_popularity=by_popularity,
        by_taste=Choices.of((taste * ~new[:, None]).T),
        by_accident=Choices.of(popularity[None, :]),
    )


def catalogue(simulation: Simulation, seed: int) -> pa.Table:
    """Rows of source.CATALOGUE for all items, including new ones."""
    store = make_store(simulation, seed)
    tastes, signal, rng = simulation.tastes, simulation.title_signal, np.random.default_rng([seed, 1])
    titles = item_titles(store.main, store.second, tastes, signal, rng)
    categories = item_categories(store.main, tastes, signal, rng)
    return pa.table(
        {
            "item_id": item_ids(np.arange(simulation.items)),
            "title": titles,
            "attributes": [[("category", category)] for category in categories],
        },
        schema=CATALOGUE,
    )


def item_ids(items: np.ndarray) -> pa.Array:
    """The ids of item numbers: 17 is `i17`."""
    return pa.array([f"i{item}" for item in items], pa.string())
