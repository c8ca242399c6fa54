"""Requests and what strategies share: drawn items are unseen and evenly drawn, and probabilities add up to 1. The id of a
request depends on its content. A prompt that does not fit the context is refused when the strategy is built.
"""

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.augment.strategies.candidates import shares, unseen
from longtail.augment.strategies.cold_pairs import ColdPairsSection
from longtail.augment.strategies.id_list import IdListSection
from longtail.augment.strategies.insertion import InsertionSection
from longtail.augment.strategies.ranking import RankingSection
from longtail.augment.strategies.strategy import Spoken
from longtail.errors import InputError
from longtail.schema import ANSWER
from tests.augment.strategies.conftest import asked, catalogue_of, hints_of, prompts_of, strategy_of


@settings(max_examples=100)
@given(
    seed=st.integers(0, 99),
    pool=st.lists(st.integers(0, 40), unique=True, max_size=30),
    history=st.lists(st.integers(0, 40), unique=True, max_size=30),
    count=st.integers(1, 10),
)
def test_drawn_items_are_different_unseen_and_as_many_as_there_are(seed, pool, history, count):
    drawn = unseen(np.random.default_rng(seed), np.array(pool, np.int32), np.array(history, np.int32), count)
    left = set(pool) - set(history)
    assert len(drawn) == len({*drawn.tolist()}) == min(count, len(left))
    assert {*drawn.tolist()} <= left


def test_every_unseen_item_is_drawn_equally_often():
    rng, pool, history = np.random.default_rng(1), np.arange(10), np.array([2, 3, 4])
    firsts = Counter(int(unseen(rng, pool, history, 2)[0]) for _ in range(7000))
    assert set(firsts) == {0, 1, 5, 6, 7, 8, 9}
    assert all(850 < count < 1150 for count in firsts.values())


@settings(max_examples=60)
@given(
    st.lists(
        st.lists(st.lists(st.floats(-300, 0), min_size=1, max_size=5), max_size=3), min_size=1, max_size=4
    )
)
def test_shares_are_the_softmax_of_each_question(questions):
    said = [
        [
            {
                "written": [],
                "written_logprobs": [],
                "options": [*range(len(one))],
                "option_logprobs": one,
            }
            for one in row
        ]
        for row in questions
    ]
    found = shares(Spoken.of(pa.table({"answers": pa.array(said, pa.list_(ANSWER))})))
    expected = []
    for row in questions:
        for one in row:
            weights = np.exp(np.array(one, np.float32).astype(float) - max(one))
            expected.extend(weights / weights.sum())
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-12)


def test_a_request_is_known_by_its_content():
    train = [[1, 2, 3], [1, 2, 3], [4, 5, 6]]
    ids = asked(strategy_of(InsertionSection(), "token"), train)["request_id"].to_pylist()
    assert len(set(ids)) == 3 and all(len(one) == 16 for one in ids)
    assert ids == asked(strategy_of(InsertionSection(), "token"), train)["request_id"].to_pylist()
    other = strategy_of(InsertionSection(candidates=9), "token")
    assert not set(ids) & set(asked(other, train)["request_id"].to_pylist())


@pytest.mark.parametrize(
    ("section", "rendering", "setting"),
    [
        (IdListSection(length=400), "token", "length = 400"),
        (RankingSection(candidates=10), "title", "candidates = 10"),
        (RankingSection(candidates=20), "id", "candidates = 20"),
        (InsertionSection(candidates=20), "title", "candidates = 20"),
    ],
)
def test_more_than_the_context_holds_is_refused_with_the_numbers(section, rendering, setting):
    prompts = prompts_of(rendering, context=100)
    with pytest.raises(InputError, match=rf"{section.strategy}: {setting} takes up to \d+ .* holds 101"):
        strategy_of(section, rendering, hints_of([[0, 1]]), prompts)


@pytest.mark.parametrize("rendering", ["token", "title", "id"])
@pytest.mark.parametrize(
    "section", [RankingSection(candidates=4), InsertionSection(candidates=4), IdListSection(length=4)]
)
def test_the_smallest_context_that_is_not_refused_holds_all_of_the_longest_prompt(section, rendering):
    """Exact to the token: one token less of context, and the strategy is refused."""
    train = [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]]
    for context in range(20, 500):
        prompts = prompts_of(rendering, context=context)
        try:
            strategy = strategy_of(section, rendering, hints_of(train), prompts)
        except InputError:
            continue
        break
    rows = asked(strategy, train)
    for row in rows.to_pylist():
        for prompt in row["prompts"]:
            assert 0 < len(prompt) <= context + 1 - strategy.sampling.max_tokens
            assert set(prompt) & {token for item in row["history"] for token in prompts.items.of(item)}


def test_more_options_than_an_answer_carries_are_refused():
    with pytest.raises(InputError, match="insertion: candidates = 65, .* at most 64 items"):
        strategy_of(InsertionSection(candidates=65), "token")


def test_a_catalogue_without_two_cold_items_has_no_cold_pairs(monkeypatch):
    monkeypatch.setattr(catalogue_of("token"), "cold", np.array([3], np.int32))
    with pytest.raises(InputError, match="cold_pairs: of 30 items 1 are cold"):
        strategy_of(ColdPairsSection(), "token")
