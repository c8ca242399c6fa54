"""The catalogue as it is served: ids, titles, popularity, and an index of attributes and of titles."""

import difflib
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.arrays import lengths_of, offsets_of, rows_of
from longtail.serving.versions.ids import Ids
from longtail.serving.versions.mapped_arrays import Array, below

SEVERAL = r"\s*[|;]\s*|,\s+"
"""What stands between the values of an attribute that has several, as in `Action|Drama`."""


class UnknownAttribute(Exception):
    """A filter names an attribute that no item has. The message names the nearest one."""

    def __init__(self, attribute: str, names: list[str]) -> None:
        near = difflib.get_close_matches(attribute, names, 1, cutoff=0)
        known = f"The nearest one is {near[0]!r}." if near else "Its items have no attributes."
        super().__init__(f"The catalogue has no such attribute. {known}")
        self.attribute = attribute


@dataclass(frozen=True)
class Values:
    """Which items have a value of one attribute: those of texts[v] are items[indptr[v] : indptr[v + 1]].

    texts large_string [values], ascending; indptr int64 [values + 1]; items int32.
    """

    texts: pa.Array
    indptr: np.ndarray
    items: np.ndarray

    def of(self, value: str) -> np.ndarray:
        """The items with this value: int32 [n]."""
        place = place_in(self.texts, value)
        if place == len(self.texts) or self.texts[place].as_py() != value:
            return self.items[:0]
        return self.items[self.indptr[place] : self.indptr[place + 1]]


@dataclass(frozen=True)
class ServedItems:
    """titles: large_string [items], null if an item has none. by_popularity int32 [items]: the most popular first.
    train_count float32 [items]. folded: the titles in lower case, ascending, and folded_items int32 their items.
    """

    ids: Ids
    titles: pa.Array
    train_count: np.ndarray
    by_popularity: np.ndarray
    folded: pa.Array
    folded_items: np.ndarray
    attributes: dict[str, Values]

    @classmethod
    def read(cls, items: pa.Table) -> Iterator[tuple[str, Array]]:
        """The arrays of a catalogue, with their names, from rows of `schema.ITEMS` sorted by item."""
        items = items.combine_chunks()
        titles = items["title"].combine_chunks().cast(pa.large_string())
        counts = items["train_count"].to_numpy()
        lower = pc.utf8_lower(titles)
        order = pc.sort_indices(lower).take(pa.array(np.arange(len(lower) - lower.null_count)))
        yield from ((f"ids/{name}", array) for name, array in Ids.of(items["item_id"]).arrays.items())
        yield "titles", titles
        yield "train_count", counts.astype(np.float32)
        yield "by_popularity", np.argsort(-counts, kind="stable").astype(np.int32)
        yield "folded", lower.take(order)
        yield "folded_items", order.to_numpy().astype(np.int32)
        maps = items["attributes"].combine_chunks()
        for number, name in enumerate(pc.unique(maps.keys).drop_null().to_pylist()):
            values = pc.map_lookup(maps, name, "first").cast(pa.large_string())
            yield f"attributes/{number}/name", pa.array([name])
            yield from ((f"attributes/{number}/{part}", array) for part, array in _index(values).items())

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> "ServedItems":
        """From the arrays of `read`."""
        attributes = {}
        for number in {name.split("/")[0] for name in below(arrays, "attributes")}:
            parts = below(arrays, f"attributes/{number}")
            name = parts.pop("name")[0].as_py()
            attributes[name] = Values(**parts)
        plain = {name: array for name, array in arrays.items() if "/" not in name}
        return cls(ids=Ids(**below(arrays, "ids")), attributes=dict(sorted(attributes.items())), **plain)

    def __len__(self) -> int:
        return len(self.ids)

    def title(self, item: int) -> str | None:
        return self.titles[item].as_py()

    def titles_of(self, items: np.ndarray) -> list[str | None]:
        return self.titles.take(pa.array(items)).to_pylist()

    def beginning_with(self, prefix: str, most: int) -> np.ndarray:
        """At most `most` items whose title begins with a text, without regard to case, in the order of titles: int32."""
        lower = pc.utf8_lower(pa.scalar(prefix)).as_py()
        start = place_in(self.folded, lower)
        near = pc.sum(pc.starts_with(self.folded.slice(start, most), lower)).as_py() or 0
        return self.folded_items[start : start + near]

    def allowed(self, wanted: Mapping[str, list[str]]) -> np.ndarray:
        """bool [items]: whether an item has one of the values of every attribute in `wanted`.

        Raises UnknownAttribute if the catalogue has no such attribute.
        """
        found = np.ones(len(self), bool)
        for attribute, values in wanted.items():
            if attribute not in self.attributes:
                raise UnknownAttribute(attribute, self.names)
            one = np.zeros(len(self), bool)
            for value in values:
                one[self.attributes[attribute].of(value)] = True
            found &= one
        return found

    def most_popular(self, many: int, banned: np.ndarray, allowed: np.ndarray | None) -> np.ndarray:
        """The most popular items that are not `banned` (int [n]) and are `allowed` (bool [items]): int32 [<= many]."""
        if allowed is None:
            first = self.by_popularity[: many + len(banned)]
        else:
            first = self.by_popularity[allowed[self.by_popularity]]
        return first[~np.isin(first, banned)][:many]

    @cached_property
    def names(self) -> list[str]:
        """Those of all attributes."""
        return [*self.attributes]


def place_in(texts: pa.Array, wanted: str) -> int:
    """The place of the first of some ascending texts that is not before `wanted`, by UTF-8 bytes."""
    return bisect_left(range(len(texts)), wanted, key=lambda place: texts[place].as_py())


def _index(values: pa.Array) -> dict[str, Array]:
    """The arrays of `Values`, from the value of each item, which may be null or hold several values."""
    parts = pc.split_pattern_regex(pc.fill_null(values, ""), SEVERAL)
    several = lengths_of(parts) > 1
    whole = values.filter(pa.array(several))
    texts = pa.chunked_array([parts.flatten().cast(pa.large_string()), whole]).combine_chunks()
    items = np.concatenate([rows_of(lengths_of(parts)), np.flatnonzero(several)])
    kept = pc.greater(pc.binary_length(texts), 0)
    encoded = texts.filter(kept).dictionary_encode()
    items = items[kept.to_numpy(zero_copy_only=False)]
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    rows = place[encoded.indices.to_numpy()]
    pairs = np.unique(rows * max(len(values), 1) + items)
    rows, items = pairs // max(len(values), 1), pairs % max(len(values), 1)
    return {
        "texts": encoded.dictionary.take(pa.array(order)),
        "indptr": offsets_of(np.bincount(rows, minlength=len(order))),
        "items": items.astype(np.int32),
    }
