"""The catalogue finds titles and values as a plain loop over all items does."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.schema import ITEMS
from longtail.serving.versions.mapped_arrays import map_arrays, write_array
from longtail.serving.versions.served_items import ServedItems, UnknownAttribute

titles = st.none() | st.text(st.sampled_from("aAbÄäß ."), max_size=3)
values = st.lists(st.sampled_from(["x", "y", "zz"]), max_size=3).map("|".join)


def catalogue(rows: list[tuple[str | None, str, int]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "item": item,
                "item_id": f"i{item}",
                "title": title,
                "train_count": count,
                "attributes": [("kind", kind)] if kind else [],
            }
            for item, (title, kind, count) in enumerate(rows)
        ],
        ITEMS,
    )


def served(rows: list[tuple[str | None, str, int]]) -> ServedItems:
    return ServedItems.of(dict(ServedItems.read(catalogue(rows))))


@given(st.lists(st.tuples(titles, values, st.integers(0, 3)), max_size=8), st.text("aAbÄä", max_size=2))
def test_titles_and_values_against_a_loop(rows: list[tuple[str | None, str, int]], prefix: str) -> None:
    found = served(rows)
    beginning = [
        (title.lower(), item)
        for item, (title, _, _) in enumerate(rows)
        if title is not None and title.lower().startswith(prefix.lower())
    ]
    assert found.beginning_with(prefix, 100).tolist() == [item for _, item in sorted(beginning)]
    for wanted in (["x"], ["y", "zz"], ["nothing"]):
        if any(kind for _, kind, _ in rows):
            own = [bool({*kind.split("|")} & {*wanted}) for _, kind, _ in rows]
            assert found.allowed({"kind": wanted}).tolist() == own
    popular = sorted(range(len(rows)), key=lambda item: -rows[item][2])
    kept = [item for item in popular if item % 2 == 0 and item != 2]
    even = np.arange(len(rows)) % 2 == 0
    assert found.most_popular(2, np.array([2]), even).tolist() == kept[:2]


def test_several_values_one_text_and_every_attribute_named() -> None:
    found = served([("a", "Fiction, Art", 1), ("b", "Art ; Music", 1), ("c", "Rock,Pop", 1)])
    assert found.allowed({"kind": ["Art"]}).tolist() == [True, True, False]
    assert found.allowed({"kind": ["Fiction, Art", "Rock,Pop"]}).tolist() == [True, False, True]
    for wrong, said in (({"kinds": ["x"]}, "nearest one is 'kind'"), ({"": ["x"]}, "'kind'")):
        with pytest.raises(UnknownAttribute, match=said):
            found.allowed(wrong)
    with pytest.raises(UnknownAttribute, match="no attributes"):
        served([("a", "", 1)]).allowed({"kind": ["x"]})


def test_files_hold_the_same(tmp_path) -> None:
    """Also if there are no items at all."""
    for rows in ([("b", "x", 1), (None, "", 2)], []):
        folder = tmp_path / str(len(rows))
        arrays: Mapping = dict(ServedItems.read(catalogue(rows)))
        for name, array in arrays.items():
            write_array(folder, name, array)
        mapped = map_arrays(folder)
        assert mapped.keys() == arrays.keys()
        for name, array in arrays.items():
            assert mapped[name].tolist() == array.tolist()
        assert len(ServedItems.of(mapped)) == len(rows)
