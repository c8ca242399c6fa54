"""Every item has one category: the values with most interactions by name, the others and the silent ones apart."""

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from longtail.evaluation.categories import NAMED, NONE, OTHERS, read_categories
from longtail.schema import ITEMS
from longtail.workspace import Workspace


def catalogue(ws, values, counts):
    """An item a value; None: it has no attributes."""
    rows = [
        {
            "item": item,
            "item_id": str(item),
            "title": None,
            "attributes": [] if value is None else [("kind", value), ("colour", "red")],
            "train_count": count,
            "slice": "mid",
        }
        for item, (value, count) in enumerate(zip(values, counts, strict=True))
    ]
    (ws / "data/items.parquet").write_table(pa.Table.from_pylist(rows, ITEMS))
    return ws / "data"


VALUES = st.lists(st.tuples(st.sampled_from([None, *"abcdefghijklmno"]), st.integers(0, 5)), min_size=1)


@given(VALUES)
def test_equals_a_count_by_hand(tmp_path_factory, items):
    values, counts = zip(*items, strict=True)
    found = read_categories(catalogue(Workspace(str(tmp_path_factory.mktemp("c"))), values, counts))
    totals = Counter()
    for value, count in items:
        if value is not None:
            totals[value] += count
    if not totals:
        assert found is None
        return
    named = sorted(totals, key=lambda value: (-totals[value], value))[:NAMED]
    wanted = [
        NONE if value is None else f"category:{value}" if value in named else OTHERS for value in values
    ]
    assert found.attribute == "kind"
    assert [found.names[code] for code in found.codes] == wanted
    kept = [*(f"category:{value}" for value in named), OTHERS, NONE]
    assert list(found.names) == [name for name in kept if name in wanted]


def test_a_category_may_be_called_as_the_rest_is(tmp_path):
    found = read_categories(catalogue(Workspace(str(tmp_path)), ["others", None], [2, 1]))
    assert found.names == ("category:others", NONE)
    assert np.array_equal(found.codes, [0, 1])
