"""Screening: the prompt about an interaction does not show it, and P(Yes) decides whether it is kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.augment.judge import judge
from longtail.augment.strategies.screening import ScreeningSection, kept
from longtail.schema import ACCEPTED, REJECTED
from tests.augment.strategies.conftest import (
    answered,
    asked,
    catalogue_of,
    options,
    prompts_of,
    strategy_of,
)


def test_the_latest_interactions_are_asked_for_with_the_history_without_them():
    strategy, prompts = strategy_of(ScreeningSection(latest=3), "token"), prompts_of("token")
    history = np.array([4, 9, 2, 7, 5])
    (row,) = asked(strategy, [history.tolist()]).to_pylist()
    assert row["shown"] == [2, 7, 5] and row["options"] == [prompts.yes, prompts.no]
    for item, prompt in zip(row["shown"], row["prompts"], strict=True):
        assert prompt == prompts.yes_no(history[history != item], item).tolist()
        assert catalogue_of("token").of_tokens(np.array(prompt)).tolist().count(item) == 1


def test_an_only_interaction_is_not_questioned():
    assert len(asked(strategy_of(ScreeningSection(), "token"), [[3]])) == 0


@settings(max_examples=80)
@given(said=st.lists(st.floats(0.01, 0.99), min_size=4, max_size=4), threshold=st.floats(0, 1))
def test_what_is_kept_is_as_probable_as_the_threshold(said, threshold):
    strategy, prompts = strategy_of(ScreeningSection(threshold=threshold), "token"), prompts_of("token")
    rows = asked(strategy, [[1, 2], [3, 4, 5, 6]], [[], []])
    answers = [options([prompts.yes, prompts.no], [p, 1 - p]) for p in said]
    table = answered(rows, [None, answers])
    column = strategy.read(table).column(len(table))
    judged = judge(table.append_column("proposals", column), kept(strategy.section), np.zeros(9, bool))
    none, found = judged["proposals"].to_pylist()
    assert not none
    by_item = {p["item"]: p for p in found}
    assert sorted(by_item) == [3, 4, 5, 6] == sorted(p["item"] for p in found)
    for item, probability in zip((3, 4, 5, 6), said, strict=True):
        assert by_item[item]["likelihood"] == pytest.approx(probability, abs=1e-5)
        if abs(probability - threshold) > 1e-5:
            assert by_item[item]["outcome"] == (ACCEPTED if probability > threshold else REJECTED)
    assert [p["likelihood"] for p in found] == sorted((p["likelihood"] for p in found), reverse=True)
