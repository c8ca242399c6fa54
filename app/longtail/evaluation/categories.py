"""Categories of items: the ten values of the first attribute with most training interactions, and all others."""

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from longtail.workspace.place import Place

NAMED = 10
OTHERS, NONE = "categories:others", "categories:none"
"""Names of two more categories: all other values of the attribute, and items without a value."""


@dataclass(frozen=True)
class Categories:
    """The category of every item.

    attribute: the name of the attribute. names: `category:<value>`, most interactions first, then OTHERS and NONE; only
    categories that have items. codes int32 [items]: the index in `names` of each item's category.
    """

    attribute: str
    names: tuple[str, ...]
    codes: np.ndarray


def read_categories(data: Place) -> Categories | None:
    """The categories of a published `data/`. None if no item has an attribute."""
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
    place = np.full(len(texts) + 1, len(named))  # the last entry is for items without a value
    place[named] = np.arange(len(named))
    place[-1] = len(named) + 1
    names = [*(f"category:{texts[code]}" for code in named), OTHERS, NONE]
    present, dense = np.unique(place[codes], return_inverse=True)
    return Categories(attribute, tuple(names[number] for number in present), dense.astype(np.int32))
