"""Which examples belong to a step, in what order, and which worker gets which of them.

The order depends only on the files, the seed and the epoch, and every worker can compute it. So a step has the same
examples for any number of workers, and a resumed run needs only its step number to find its place. Every worker reads
the current shard (a few MB) and the next one, and keeps its own part of a step.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow.parquet as pq

from longtail.arrays import views_of
from longtail.llm.prompts.example import Example
from longtail.workspace.place import Place


@dataclass(frozen=True)
class Batch:
    """The examples of a step, and the user of each."""

    examples: list[Example]
    users: list[int]

    @property
    def weight(self) -> float:
        """Sum of the loss weights; the loss of a step is divided by it."""
        return float(sum(example.weights[1:].sum(dtype=np.float64) for example in self.examples))

    @property
    def tokens(self) -> int:
        return sum(len(example.tokens) for example in self.examples)

    def __len__(self) -> int:
        return len(self.examples)


@dataclass(frozen=True)
class Batches:
    """The steps over a folder of example files, `size` examples each."""

    folder: Place
    size: int
    seed: int

    @cached_property
    def _shards(self) -> list[tuple[Place, int]]:
        files = self.folder.files(".parquet")
        return [(file, pq.read_metadata(file.path, filesystem=file.fs).num_rows) for file in files]

    @property
    def rows(self) -> int:
        return sum(rows for _, rows in self._shards)

    @property
    def steps(self) -> int:
        """Steps of an epoch; the last may be smaller than the others."""
        return -(-self.rows // self.size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch, from its step `start` on. Shards are shuffled, and the examples in each shard too."""
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self._shards))
        skipped = start * self.size
        wanted: list[tuple[int, int]] = []  # shard and its first row
        for shard in order:
            rows = self._shards[shard][1]
            if rows > skipped:
                wanted.append((int(shard), skipped))
            skipped = max(0, skipped - rows)
        examples: list[Example] = []
        users: list[int] = []
        for more, whose in self._read_ahead(epoch, wanted):
            examples, users = examples + more, users + whose
            whole = len(examples) - len(examples) % self.size
            for at in range(0, whole, self.size):
                yield Batch(examples[at : at + self.size], users[at : at + self.size])
            examples, users = examples[whole:], users[whole:]
        if examples:
            yield Batch(examples, users)

    def _read_ahead(
        self, epoch: int, wanted: list[tuple[int, int]]
    ) -> Iterator[tuple[list[Example], list[int]]]:
        """Read the next shard while the current one is used."""
        with ThreadPoolExecutor(1) as pool:
            coming = [pool.submit(self._read, epoch, *one) for one in wanted[:1]]
            for place in range(len(wanted)):
                coming += [pool.submit(self._read, epoch, *one) for one in wanted[place + 1 : place + 2]]
                yield coming.pop(0).result()

    def _read(self, epoch: int, shard: int, first: int) -> tuple[list[Example], list[int]]:
        table = self._shards[shard][0].read_table()
        order = np.random.default_rng([self.seed, epoch, shard]).permutation(table.num_rows)[first:]
        tokens, weights = (views_of(table[name].combine_chunks()) for name in ("tokens", "weights"))
        users = table["user"].to_numpy()
        return [Example(tokens[row], weights[row]) for row in order], users[order].tolist()


def shares(lengths: Sequence[int], workers: int, most_tokens: int) -> list[list[list[int]]]:
    """Divide the examples of a step among workers and forward passes: [pass][worker] gives places in `lengths`.

    All workers have the same number of passes and nearly the same number of tokens. A pass has at most `most_tokens`
    tokens, or one example that is longer. The longest example goes first, each to the pass with the fewest tokens so far
    (Graham 1969).
    """
    most_tokens = max(most_tokens, *lengths)
    passes = max(1, -(-sum(lengths) // (workers * most_tokens)))
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    while True:
        bins: list[list[int]] = [[] for _ in range(passes * workers)]
        held = np.zeros(len(bins), np.int64)
        for place in order:
            emptiest = int(held.argmin())
            bins[emptiest].append(place)
            held[emptiest] += lengths[place]
        if held.max() <= most_tokens:
            return [bins[one * workers : (one + 1) * workers] for one in range(passes)]
        passes += 1
