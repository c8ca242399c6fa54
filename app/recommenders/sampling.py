"""Negatives: items that a user did not take, drawn uniformly."""

import numpy as np
from scipy.sparse import csr_matrix


class Negatives:
    """Draws warm items (those with any training interaction) outside a user's row, observed or generated."""

    def __init__(self, taken: csr_matrix) -> None:
        self.n_items = taken.shape[1]
        users = np.repeat(np.arange(taken.shape[0]), np.diff(taken.indptr))
        self.keys = np.sort(users * self.n_items + taken.indices)
        self.warm = np.unique(taken.indices)
        self.possible = np.diff(taken.indptr) < len(self.warm)
        """bool [users]: there is at least one such item."""

    def draw(self, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One item for each of `users` (int [n], all of them `possible`): int64 [n]."""
        items = rng.choice(self.warm, len(users))
        wrong = np.flatnonzero(self._taken(users, items))
        while len(wrong):
            items[wrong] = rng.choice(self.warm, len(wrong))
            wrong = wrong[self._taken(users[wrong], items[wrong])]
        return items.astype(np.int64)

    def _taken(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        keys = users * self.n_items + items
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return self.keys[place] == keys
