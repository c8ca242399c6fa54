"""Ways of asking: what a prompt shows of an item is what is scored, and the preference is that of the formula."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.augment.strategies.cold_pairs import ColdPairsSection
from longtail.augment.strategies.pairs import PairsSection
from longtail.errors import InputError
from longtail.schema import ACCEPTED, UNDECIDED
from tests.augment.strategies.conftest import (
    RENDERINGS,
    answered,
    asked,
    prompts_of,
    proposals,
    scored,
    strategy_of,
)

HISTORY = [0, 1, 2]


@pytest.mark.parametrize("rendering", RENDERINGS)
@pytest.mark.parametrize("ask", ["likelihood", "pmi"])
def test_each_item_of_a_pair_follows_the_history(rendering, ask):
    """With pmi, each item also follows the instruction alone."""
    prompts = prompts_of(rendering)
    strategy = strategy_of(PairsSection(pairs=2, ask=ask), rendering)
    (row,) = asked(strategy, [HISTORY]).to_pylist()
    befores = [np.array(HISTORY), np.array([], int)][: 1 + (ask == "pmi")]
    expected = [
        [*prompts.next_item(before), *prompts.items.of(item)] for item in row["shown"] for before in befores
    ]
    assert row["prompts"] == expected and row["options"] == []
    assert strategy.questions == len(expected) and strategy.sampling.max_tokens == 1
    longest = np.diff(prompts.items.indptr).max()
    assert longest <= strategy.sampling.scored < longest + 32


@pytest.mark.parametrize("rendering", RENDERINGS)
@pytest.mark.parametrize("ask", ["likelihood", "pmi"])
@given(seed=st.integers(0, 999))
def test_the_preference_is_that_of_the_text_that_is_likelier(rendering, ask, seed):
    """Compared with a loop over the tokens of each item."""
    prompts, rng = prompts_of(rendering), np.random.default_rng(seed)
    strategy = strategy_of(ColdPairsSection(pairs=3, ask=ask), rendering)
    rows = asked(strategy, [HISTORY, [3]])
    said = [
        [scored(prompt, strategy.sampling.scored, rng) for prompt in row["prompts"]]
        for row in rows.to_pylist()
    ]
    found = proposals(strategy, answered(rows, said))
    for row, own, proposed in zip(rows.to_pylist(), said, found, strict=True):
        answers, scores = iter(own), {}
        for item in row["shown"]:
            n = len(prompts.items.of(item))
            scores[item] = sum(next(answers)["written_logprobs"][-n:])
            if ask == "pmi":
                scores[item] -= sum(next(answers)["written_logprobs"][-n:])
        expected = {}
        for a, b in np.array(row["shown"]).reshape(-1, 2).tolist():
            best, other = (a, b) if scores[a] > scores[b] else (b, a)
            expected[best, other] = 1 / (1 + np.exp(scores[other] - scores[best]))
        assert {(one["item"], one["against"]) for one in proposed} == {*expected}
        for one in proposed:
            assert one["outcome"] == ACCEPTED
            wanted = expected[one["item"], one["against"]]
            assert one["likelihood"] == pytest.approx(wanted, abs=1e-4)
        likelihoods = [one["likelihood"] for one in proposed]
        assert likelihoods == sorted(likelihoods, reverse=True)


def test_texts_that_are_as_likely_are_no_answer():
    strategy = strategy_of(PairsSection(ask="likelihood"), "token")
    rows = asked(strategy, [HISTORY])
    one = {"written": [1], "written_logprobs": [-2.5], "options": [], "option_logprobs": []}
    (found,) = proposals(strategy, answered(rows, [[one, one]]))
    assert [proposal["outcome"] for proposal in found] == [UNDECIDED]


@pytest.mark.parametrize("history", [[0], list(range(20))])
def test_a_text_is_never_cut_but_the_history_is(history):
    """The prompt and the token that an engine must write fit in the context, and the whole item is at the end."""
    for context in range(45, 90):
        prompts = prompts_of("title", context)
        strategy = strategy_of(PairsSection(pairs=3, ask="likelihood"), "title", prompts=prompts)
        (row,) = asked(strategy, [history]).to_pylist()
        for item, prompt in zip(row["shown"], row["prompts"], strict=True):
            text = prompts.items.of(item).tolist()
            assert prompt[-len(text) :] == text and len(prompt) <= context


def test_a_title_that_the_context_does_not_hold_is_refused():
    with pytest.raises(
        InputError, match="strategy cold_pairs: ask = likelihood takes up to .* Lower ask|context"
    ):
        strategy_of(ColdPairsSection(ask="likelihood"), "title", prompts=prompts_of("title", 12))
