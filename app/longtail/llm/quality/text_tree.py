"""The texts of a catalogue as a tree: a start that several texts share is read once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from longtail.llm.prompts.item_text import ItemTokens

ROOT = -1


@dataclass(frozen=True)
class TextTree:
    """The texts of some items. A node is a token after a certain start; its parent is the token before it.

    items: int [items], their numbers. ends: int [items], the node that ends each text. tokens, parents: int [nodes];
    a parent is ROOT or comes before its children. inner: int [inner], the nodes that have children, ascending. Only these
    are read by a model; the other nodes are only predicted.
    """

    items: np.ndarray
    ends: np.ndarray
    tokens: np.ndarray
    parents: np.ndarray
    inner: np.ndarray

    @classmethod
    def build(cls, items: ItemTokens, chosen: np.ndarray) -> "TextTree":
        nodes: dict[tuple[int, int], int] = {}
        ends = np.empty(len(chosen), np.int64)
        for place, item in enumerate(chosen):
            node = ROOT
            for token in items.of(item).tolist():
                node = nodes.setdefault((node, token), len(nodes))
            ends[place] = node
        parents, tokens = np.array(list(nodes), np.int64).reshape(-1, 2).T
        inner = np.unique(parents)
        return cls(np.asarray(chosen), ends, tokens, parents, inner[inner != ROOT])

    def rows_of(self, nodes: np.ndarray) -> np.ndarray:
        """The rows of `inner` where these nodes are."""
        return np.searchsorted(self.inner, nodes)

    def sees(self) -> np.ndarray:
        """Whether an inner node (row) comes after or is another one (column) in its text: bool [inner, inner]."""
        seen = np.eye(len(self.inner), dtype=bool)
        for row, parent in enumerate(self.parents[self.inner]):
            if parent != ROOT:
                seen[row] |= seen[self.rows_of(parent)]
        return seen

    def add_up(self, values: np.ndarray) -> np.ndarray:
        """The sum of the nodes' values along each item's text: float64 [items]."""
        sums = values.astype(np.float64)
        for node, parent in enumerate(self.parents):
            if parent != ROOT:
                sums[node] += sums[parent]
        return sums[self.ends]


def text_trees(items: ItemTokens, most: int) -> Iterator[TextTree]:
    """Trees that together hold every item once, each with at most `most` tokens in all but the last of each text (one item
    at least). Texts that start alike are in the same tree.
    """
    lengths = np.diff(items.indptr) - 1
    chosen: list[int] = []
    total = 0
    for item in sorted(range(len(items)), key=lambda item: items.of(item).tolist()):
        if chosen and total + lengths[item] > most:
            yield TextTree.build(items, np.array(chosen))
            chosen, total = [], 0
        chosen.append(item)
        total += lengths[item]
    if chosen:
        yield TextTree.build(items, np.array(chosen))
