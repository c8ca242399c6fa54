"""From the ids of the raw files to dense codes, without one Python object per id."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from xxhash import xxh3_64_intdigest

from longtail.schema import NOTHING
from longtail.serving.versions.mapped_arrays import Array


@dataclass(frozen=True)
class Ids:
    """The ids of users or items, row number == code. The index takes 12 bytes per id and can be memory-mapped.

    texts: large_string [n], distinct. hashes uint64 [n], ascending: xxh3 of each id. codes int32 [n]: the code of each hash.
    """

    texts: pa.Array
    hashes: np.ndarray
    codes: np.ndarray

    @classmethod
    def of(cls, ids: pa.Array | pa.ChunkedArray) -> "Ids":
        """`ids` must be distinct strings, sorted by code."""
        whole = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
        hashes = np.fromiter((_hash(one.as_py()) for one in whole), np.uint64, len(whole))
        order = np.argsort(hashes, kind="stable").astype(np.int32)
        return cls(whole.cast(pa.large_string()), hashes[order], order)

    @property
    def arrays(self) -> dict[str, Array]:
        return dict(vars(self))

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, code: int) -> str:
        return self.texts[code].as_py()

    def code(self, one: str) -> int | None:
        """The code of an id; None if there is no such id."""
        wanted = _hash(one)
        place = int(np.searchsorted(self.hashes, np.uint64(wanted)))
        while place < len(self) and self.hashes[place] == wanted:  # almost always once: hashes may be equal
            if self[code := int(self.codes[place])] == one:
                return code
            place += 1
        return None

    def look_up(self, ids: Sequence[str]) -> np.ndarray:
        """The codes of some ids: int32 [n], NOTHING for an id that is not there."""
        if not len(ids) or not len(self):
            return np.full(len(ids), NOTHING, np.int32)
        wanted = np.fromiter(map(_hash, ids), np.uint64, len(ids))
        place = np.minimum(np.searchsorted(self.hashes, wanted), len(self) - 1)
        found = self.codes[place]
        written = pa.array([_bytes(one) for one in ids], pa.large_binary())
        equal = pc.equal(self.texts.take(pa.array(found)).cast(pa.large_binary()), written)
        found = np.where(equal.to_numpy(zero_copy_only=False), found, NOTHING).astype(np.int32)
        for row in np.flatnonzero(
            (found == NOTHING) & (self.hashes[place] == wanted)
        ):  # another id, equal hash
            found[row] = NOTHING if (code := self.code(ids[row])) is None else code
        return found

    def take(self, codes: np.ndarray) -> list[str]:
        """The ids of codes int [n]."""
        return self.texts.take(pa.array(codes)).to_pylist()


def _hash(one: str) -> int:
    return xxh3_64_intdigest(_bytes(one))


def _bytes(one: str) -> bytes:
    return one.encode(errors="surrogatepass")  # half a character is in no id, and is no reason to fail
