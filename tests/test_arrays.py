"""Flat arrays of lists against plain Python lists, and that light processes may import them."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.arrays import (
    entries_between,
    entry_rows,
    latest,
    lengths_of,
    lists_of,
    nested,
    offsets_of,
    places_of,
    rows_of,
    views_of,
    with_values,
)

numbers = st.integers(-(2**31), 2**31 - 1)
ragged = st.lists(st.lists(numbers, max_size=5), max_size=8)
with_nulls = st.lists(st.none() | st.lists(numbers, max_size=5), max_size=8)
INT32_LISTS = pa.list_(pa.int32())


def column(values: list) -> pa.ListArray:
    return pa.array(values, INT32_LISTS)


@given(ragged)
def test_offsets_rows_and_places_are_those_of_the_lists(values):
    lengths = [len(own) for own in values]
    offsets = offsets_of(lengths)
    flat = [one for own in values for one in own]
    assert [flat[start:end] for start, end in zip(offsets[:-1], offsets[1:], strict=True)] == values
    assert rows_of(lengths).tolist() == [row for row, own in enumerate(values) for _ in own]
    assert places_of(lengths).tolist() == [place for own in values for place in range(len(own))]
    assert offsets.dtype == rows_of(lengths).dtype == places_of(lengths).dtype == np.int64


@pytest.mark.parametrize("kind", [np.bool_, np.int8, np.int32, np.int64])
def test_offsets_are_wide_whatever_the_lengths_are(kind):
    assert offsets_of(np.ones(300, kind))[-1] == 300
    assert offsets_of(np.ones(3, kind)).dtype == np.int64


def test_offsets_do_not_overflow_as_int32():
    assert offsets_of(np.full(3, 2**30, np.int32)).tolist() == [0, 2**30, 2**31, 3 * 2**30]


@given(ragged, st.data(), st.none() | st.integers(0, 4))
def test_the_latest_entries_of_some_lists(values, data, length):
    rows = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=6)) if values else []
    flat = np.array([one for own in values for one in own], np.int64)
    places, lengths = latest(offsets_of([len(own) for own in values]), np.array(rows, np.int64), length)
    chosen = [values[row] for row in rows]
    wanted = [own if length is None else own[max(0, len(own) - length) :] for own in chosen]
    assert flat[places].tolist() == [one for own in wanted for one in own]
    assert lengths.tolist() == [len(own) for own in wanted]


def test_latest_entries_of_ragged_rows():
    starts = np.array([0, 0, 3, 4])
    place, lengths = latest(starts, np.array([2, 0, 1]), 2)
    assert place.tolist() == [3, 1, 2] and lengths.tolist() == [1, 0, 2]


@given(with_nulls, st.integers(0, 3))
def test_lengths_and_rows_of_a_column_also_if_it_is_a_slice_or_in_chunks(values, first):
    whole = column(values)
    for lists, own in (
        (whole, values),
        (whole[first:], values[first:]),
        (pa.chunked_array([whole[:first], whole[first:]], INT32_LISTS), values),
    ):
        assert lengths_of(lists).tolist() == [len(one or []) for one in own]
        assert lengths_of(lists).dtype == np.int64
        assert entry_rows(lists).tolist() == [row for row, one in enumerate(own) for _ in one or []]


@given(with_nulls, st.integers(0, 3), st.data(), st.booleans())
def test_entries_between_places(values, first, data, to_the_last):
    lists, own = column(values)[first:], values[first:]
    starts, ends = (np.array([data.draw(st.integers(0, 6)) for _ in own], int) for _ in range(2))
    rows, found = entries_between(lists, starts, None if to_the_last else ends)
    parts = [
        (one or [])[start : None if to_the_last else end]
        for one, start, end in zip(own, starts, ends, strict=True)
    ]
    assert found.tolist() == [one for part in parts for one in part]
    assert rows.tolist() == [row for row, part in enumerate(parts) for _ in part]


@given(ragged, st.integers(0, 3))
def test_views_share_one_array(values, first):
    lists = column(values)[first:]
    found = views_of(lists)
    assert [own.tolist() for own in found] == values[first:]
    assert all(np.shares_memory(own, lists.values.to_numpy()) for own in found if len(own))


@given(with_nulls)
def test_lists_from_flat_values_are_the_column_again(values):
    lists = column(values)
    again = lists_of(offsets_of(lengths_of(lists)), lists.flatten(), lists.is_null())
    assert again.equals(lists) and again.type == lists.type


@given(ragged, st.integers(0, 3))
def test_other_values_in_the_same_lists(values, first):
    lists = column(values)[first:]
    doubled = with_values(lists, pa.array(lists.flatten().to_numpy() * 2.0))
    assert doubled.to_pylist() == [[one * 2.0 for one in own] for own in values[first:]]


def test_more_entries_than_a_list_column_holds_are_refused():
    with pytest.raises(pa.ArrowInvalid):
        lists_of(np.array([0, 2**31]), pa.nulls(0, pa.int32()))


@pytest.mark.parametrize("inner", [pa.int32(), pa.int64(), pa.float32()])
@given(values=st.lists(st.lists(st.lists(st.integers(-1000, 1000), max_size=3), max_size=3), max_size=4))
def test_nested_is_as_arrow_makes_it(inner, values):
    kind = pa.list_(pa.list_(inner))
    arrays = [[np.array(one, np.int64) for one in own] for own in values]
    assert nested(arrays, kind).equals(pa.array(values, kind))
    flat = [one for own in values for one in own]
    assert nested([np.array(one, np.int64) for one in flat], pa.list_(inner)).equals(
        pa.array(flat, pa.list_(inner))
    )
    assert nested([1, 2], inner).equals(pa.array([1, 2], inner))


def test_torch_is_not_imported():
    code = "import sys, longtail.arrays; sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
