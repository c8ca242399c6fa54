"""Proposals: each has one outcome, set in the order of the rules. Flat arrays give the same result as a loop over rows."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.augment.proposals import CODES, NOTHING, OPEN, Proposals
from longtail.schema import (
    ALREADY_SEEN,
    DUPLICATE,
    NOT_CHOSEN,
    NOT_IN_CATALOGUE,
    OUTCOMES,
    PROPOSAL,
)

N_ITEMS = 8
item = st.integers(NOTHING, N_ITEMS - 1)
rows_of_items = st.lists(st.lists(item, max_size=6), min_size=1, max_size=5)
known = st.lists(st.integers(0, N_ITEMS - 1), max_size=4)


def opened(rows: list[list[int]]) -> Proposals:
    numbers = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    items = np.array([item for row in rows for item in row], np.int32)
    return Proposals.open(numbers, items, np.linspace(1, 0, len(items), dtype=np.float32))


def batch(histories: list[list[int]]) -> pa.Table:
    return pa.table({"history": pa.array(histories, pa.list_(pa.int32()))})


def outcomes(found: Proposals, n_rows: int) -> list[list[str | None]]:
    return [[one["outcome"] for one in row] for row in found.column(n_rows).to_pylist()]


@given(data=st.data(), rows=rows_of_items)
def test_settled_equals_a_loop(data, rows):
    """A repeated item is always a duplicate, also if the user has it already."""
    n = len(rows)
    histories = data.draw(st.lists(known, min_size=n, max_size=n))
    expected = []
    for row, taken in zip(rows, histories, strict=True):
        met, own = set(), []
        for one in row:
            outcome = None
            if one != NOTHING:
                if one in met:
                    outcome = DUPLICATE
                elif one in taken:
                    outcome = ALREADY_SEEN
            met.add(one)
            own.append(outcome)
        expected.append(own)
    table = batch(histories)
    assert outcomes(opened(rows).settled(table), n) == expected
    padded = pa.concat_tables([batch([[0, 1]]), table, batch([[3]])])
    assert outcomes(opened(rows).settled(padded.slice(1, n)), n) == expected, "a slice of a larger table"


@given(data=st.data(), rows=rows_of_items, seats=st.integers(0, 4), reserved=st.integers(0, 3))
def test_kept_equals_a_loop(data, rows, seats, reserved):
    rare = np.array(data.draw(st.lists(st.booleans(), min_size=N_ITEMS, max_size=N_ITEMS)))
    found = opened(rows)
    found = found.marked(found.items == NOTHING, NOT_IN_CATALOGUE)
    expected = []
    for row in rows:
        left, left_rare, own = seats, reserved, []
        for one in row:
            if one == NOTHING:
                own.append(NOT_IN_CATALOGUE)
            elif left:
                left -= 1
                own.append(None)
            elif left_rare and rare[one]:
                left_rare -= 1
                own.append(None)
            else:
                own.append(NOT_CHOSEN)
        expected.append(own)
    assert outcomes(found.kept(seats, reserved, rare), len(rows)) == expected


@given(rows=rows_of_items, bits=st.integers(0, 2**30 - 1))
def test_places_count_within_a_row(rows, bits):
    found = opened(rows)
    which = np.array([bool(bits >> place & 1) for place in range(len(found.rows))], bool)
    expected = [
        sum(which[before] and found.rows[before] == found.rows[place] for before in range(place))
        for place in range(len(found.rows))
    ]
    assert found.places(which).tolist() == expected


@given(rows=rows_of_items, bits=st.integers(0, 2**30 - 1), order=st.permutations(OUTCOMES))
def test_an_outcome_is_final(rows, bits, order):
    """A later mark never changes an existing outcome, so the counts always add up."""
    found = opened(rows)
    which = np.array([bool(bits >> place & 1) for place in range(len(found.rows))], bool)
    first = found.marked(which, order[0])
    last = first.marked(np.ones(len(which), bool), order[1])
    assert (last.outcomes[which] == CODES[order[0]]).all() and (
        last.outcomes[~which] == CODES[order[1]]
    ).all()
    assert (found.outcomes == OPEN).all(), "the former are as they were"


@given(rows=rows_of_items)
def test_a_column_holds_every_proposal_in_its_row(rows):
    column = opened(rows).column(len(rows))
    assert column.type == pa.list_(PROPOSAL)
    expected = [[None if one == NOTHING else one for one in row] for row in rows]
    assert [[one["item"] for one in row] for row in column.to_pylist()] == expected


@pytest.mark.parametrize("texts", [None, ["a", "b"]])
def test_a_column_of_texts_and_preferences(texts):
    found = Proposals(
        rows=np.array([1, 1]),
        items=np.array([3, NOTHING], np.int32),
        likelihood=np.array([0.5, 0.25], np.float32),
        outcomes=np.array([OPEN, CODES[NOT_IN_CATALOGUE]], np.int8),
        against=np.array([4, NOTHING], np.int32),
        texts=texts,
    )
    nothing, row = found.column(2).to_pylist()
    assert nothing == []
    assert [one["text"] for one in row] == (texts or [None, None])
    assert [one["against"] for one in row] == [4, None]
    assert [one["likelihood"] for one in row] == [0.5, 0.25]
    assert all(one[name] is None for one in row for name in ("yes_no", "agreement", "confidence"))
