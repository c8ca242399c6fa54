"""Ids find their codes exactly, whatever people call their users and items."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from longtail.serving.ids import Ids

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(st.lists(words, unique=True, max_size=30), st.lists(words, max_size=10))
def test_ids_against_a_dictionary(ids: list[str], asked: list[str]) -> None:
    found = Ids(pa.chunked_array([ids[:7], ids[7:]], pa.string()))
    codes = {one: code for code, one in enumerate(ids)}
    assert len(found) == len(ids)
    assert [found.code(one) for one in asked + ids] == [codes.get(one) for one in asked + ids]
    assert [found[code] for code in range(len(ids))] == ids


def test_half_a_surrogate_pair_is_no_id() -> None:
    assert Ids(pa.array(["a", "\uffff"])).code("\ud800") is None
