"""Ids find their codes exactly, whatever people call their users and items."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.schema import NOTHING
from longtail.serving.versions import ids
from longtail.serving.versions.ids import Ids

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(st.lists(words, unique=True, max_size=30), st.lists(words, max_size=10))
def test_ids_against_a_dictionary(known: list[str], asked: list[str]) -> None:
    found = Ids.of(pa.chunked_array([known[:7], known[7:]], pa.string()))
    codes = {one: code for code, one in enumerate(known)}
    assert len(found) == len(known)
    assert [found.code(one) for one in asked + known] == [codes.get(one) for one in asked + known]
    assert found.look_up(asked + known).tolist() == [codes.get(one, NOTHING) for one in asked + known]
    assert [found[code] for code in range(len(known))] == known


def test_ids_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_hash", lambda one: len(one))
    found = Ids.of(pa.array(["ab", "c", "cd", "ef", "g"]))
    asked = ["ef", "g", "ab", "xx", "c", "", "cd"]
    assert found.look_up(asked).tolist() == [3, 4, 0, NOTHING, 1, NOTHING, 2]
    assert [found.code(one) for one in asked] == [3, 4, 0, None, 1, None, 2]


def test_half_a_surrogate_pair_is_no_id() -> None:
    found = Ids.of(pa.array(["a", "\uffff"]))
    assert found.code("\ud800") is None and found.look_up(["\ud800", "a"]).tolist() == [NOTHING, 0]
