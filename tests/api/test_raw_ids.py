"""Ids of any type come out as they went in."""

from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import longtail
from longtail.api.raw_ids import coded
from longtail.errors import InputError

ONE_KIND = [
    st.text(),
    st.text(st.characters(categories=["Cs", "Lu"])),  # half letters, which are no UTF-8
    st.integers(),
    st.binary(),
    st.floats(allow_nan=False),
    st.dates(),
    st.datetimes(),
    st.uuids(),
    st.tuples(st.integers(), st.text()),
    st.frozensets(st.integers(), max_size=2),
]
IDS = st.one_of(*(st.lists(kind, min_size=1, max_size=8) for kind in [*ONE_KIND, st.one_of(ONE_KIND)]))


@given(IDS)
def test_ids_come_back_equal(ids: list[Any]) -> None:
    found, codes = coded(ids, "user")
    assert found.of(codes.tolist()) == ids
    assert [found.code(one) for one in ids] == codes.tolist()
    assert len(found) == len(set(ids))


@settings(max_examples=30)
@given(IDS, st.data())
def test_a_fit_takes_them_and_answers_with_them(ids: list[Any], data: st.DataObject) -> None:
    users = data.draw(st.lists(st.sampled_from(ids), min_size=len(ids), max_size=len(ids)))
    frame = pd.DataFrame({"user": pd.Series(users, dtype=object), "item": pd.Series(ids, dtype=object)})
    model = longtail.ItemCF().fit(frame)
    for user in users:
        taken = {item for own, item in zip(users, ids, strict=True) if own == user}
        answered = model.recommend(user, k=3)["item"].tolist()
        assert set(answered) <= set(ids) - taken
    for item in ids:
        assert set(model.similar(item)["item"].tolist()) <= set(ids) - {item}


@given(
    st.lists(st.one_of(st.text(), st.none()), min_size=1), st.sampled_from(["string", "large", "dictionary"])
)
def test_arrow_text_is_coded_as_python_codes_it(ids: list[str | None], kind: str) -> None:
    types = {
        "string": pa.string(),
        "large": pa.large_string(),
        "dictionary": pa.dictionary(pa.int32(), pa.string()),
    }
    column = pa.chunked_array([pa.array(ids, types[kind])])
    if None in ids:
        with pytest.raises(InputError, match=f"row {ids.index(None) + 1}: 'user' is missing"):
            coded(column, "user")
        return
    found, codes = coded(column, "user")
    expected, as_python = coded(ids, "user")
    assert codes.tolist() == as_python.tolist() and found.of(range(len(found))) == expected.of(
        range(len(found))
    )


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA, pd.NaT])
def test_a_missing_id_is_named(nothing: Any) -> None:
    with pytest.raises(InputError, match=r"row 2: 'item' is missing, and so in 1 of 3 rows"):
        coded([(1, 2), nothing, (3, 4)], "item")


def test_what_cannot_be_hashed_is_no_id() -> None:
    with pytest.raises(InputError, match="'item' holds values of type list"):
        coded(pa.chunked_array([[[1], [2]]]), "item")
    assert longtail.ItemCF().fit(pl.DataFrame({"user": [1], "item": [2]}))._table.users.code([1]) is None
