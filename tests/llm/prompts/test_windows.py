"""Windows: one target once, by number and by tokens, with as much before it as half a window."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longtail.llm.prompts.windows import windows

LENGTHS = st.lists(st.integers(1, 9), max_size=40).map(np.array)


@given(lengths=LENGTHS, history=st.integers(1, 12), budget=st.integers(1, 60))
def test_every_target_that_fits_is_taught_once_in_order_and_within_the_budget(lengths, history, budget):
    targets: list[int] = []
    for window in windows(lengths.astype(int), history, budget):
        assert window.start <= window.first <= window.end <= max(window.start, window.first) + history + 1
        assert lengths[window.start : window.end].sum() <= budget
        targets += range(window.first, window.end)
    assert targets == [place for place in range(1, len(lengths)) if lengths[place] <= budget]


@given(n=st.integers(2, 60), history=st.integers(1, 12))
def test_half_a_window_is_known_before_its_first_target(n, history):
    for window in windows(np.ones(n, int), history, 1000):
        assert window.first - window.start >= min(window.first, (history + 1) // 2) and not window.cut
        assert window.end - window.start <= history + 1


def test_where_tokens_end_a_window_half_of_them_are_known_before_its_first_target():
    found = list(windows(np.full(20, 5), 100, 40))
    assert [window.first - window.start for window in found[1:]] == [4] * len(found[1:])
    assert not found[0].cut and all(window.cut for window in found[1:])
