"""Categories of the catalogue: the values of its first attribute, the ten with most training interactions and the rest."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from longtail.workspace.place import Place

NAMED = 10
OTHERS, NONE = "categories:others", "categories:none"
"""All other values of the attribute; items without any."""


@dataclass(frozen=True)
class Categories:
    """attribute: its name; names: `category:<value>` of the named ones, most interactions first, then OTHERS and NONE, those
    of them that have items; codes int32 [items]: of each item the place in names.
    """

    attribute: str
    names: tuple[str, ...]
    codes: np.ndarray


def read_categories(data: Place) -> Categories | None:
    """Of a published `data/`; None where no item has an attribute."""
    items = (data / "items.parquet").read_table(["attributes", "train_count"])
    attributes = items["attributes"].combine_chunks()
    if not len(attributes.keys):
        return None
    attribute = attributes.keys[0].as_py()
    values = pc.map_lookup(attributes, attribute, "first").dictionary_encode()
    texts, codes = values.dictionary.to_pylist(), values.indices.fill_null(-1).to_numpy()
    stated = codes >= 0
    counts = np.bincount(codes[stated], weights=items["train_count"].to_numpy()[stated], minlength=len(texts))
    named = np.lexsort((texts, -counts))[:NAMED]
    place = np.full(len(texts) + 1, len(named))  # the last is that of items without a value
    place[named] = np.arange(len(named))
    place[-1] = len(named) + 1
    names = [*(f"category:{texts[code]}" for code in named), OTHERS, NONE]
    present, dense = np.unique(place[codes], return_inverse=True)
    return Categories(attribute, tuple(names[number] for number in present), dense.astype(np.int32))
