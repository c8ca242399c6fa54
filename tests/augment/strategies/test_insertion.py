"""Insertion: only the likeliest candidate is accepted."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.augment.strategies.insertion import InsertionSection
from longtail.schema import ACCEPTED, NOT_CHOSEN, NOT_IN_CATALOGUE, UNPARSABLE
from tests.augment.strategies.conftest import (
    COLD,
    answered,
    asked,
    catalogue_of,
    listed,
    options,
    prompts_of,
    proposals,
    strategy_of,
    written,
)

TRAIN = [[0, 1, 2], [3, 4]]


def test_candidates_are_unseen_warm_items_and_the_options_of_what_comes_next():
    strategy, prompts = strategy_of(InsertionSection(candidates=6), "token"), prompts_of("token")
    for row, history in zip(asked(strategy, TRAIN).to_pylist(), TRAIN, strict=True):
        assert len(set(row["shown"])) == 6 and not set(row["shown"]) & set(history)
        assert max(row["shown"]) < COLD
        assert row["prompts"] == [prompts.next_item(np.array(history)).tolist()]
        assert row["options"] == catalogue_of("token").tokens(np.array(row["shown"])).tolist()


@settings(max_examples=80)
@given(probabilities=st.lists(st.floats(1e-6, 0.1), min_size=6, max_size=6, unique=True))
def test_the_likeliest_candidate_alone_is_accepted(probabilities):
    """Compared with brute force. The LLM gives most of its probability to other tokens, as a real one does."""
    strategy = strategy_of(InsertionSection(candidates=6), "token")
    rows = asked(strategy, TRAIN)
    shown = rows["shown"][0].as_py()
    tokens = catalogue_of("token").tokens(np.array(shown))
    (found, other) = proposals(strategy, answered(rows, [[options(tokens, probabilities)], None]))
    order = np.argsort(-np.array(probabilities, np.float32), kind="stable")
    assert [p["item"] for p in found] == [shown[place] for place in order]
    assert [p["likelihood"] for p in found] == pytest.approx(
        (np.array(probabilities) / sum(probabilities))[order], rel=1e-4
    )
    assert [p["outcome"] for p in found] == [ACCEPTED] + 5 * [NOT_CHOSEN] and not other


@pytest.mark.parametrize("rendering", ["title", "id"])
def test_the_first_written_candidate_is_accepted(rendering):
    strategy = strategy_of(InsertionSection(candidates=6), rendering)
    rows = asked(strategy, TRAIN)
    shown = rows["shown"][0].as_py()
    strange = next(item for item in range(COLD) if item not in shown and item not in TRAIN[0])
    said = written(listed(rendering, [strange, shown[2], shown[0], 0]))
    found, none = proposals(strategy, answered(rows, [[said], [written(listed(rendering, [strange]))]]))
    assert [(p["item"], p["outcome"]) for p in found] == [
        (None, UNPARSABLE),
        (shown[2], ACCEPTED),
        (shown[0], NOT_CHOSEN),
        (None, UNPARSABLE),
    ]
    assert [(p["item"], p["outcome"]) for p in none] == [(None, UNPARSABLE)], "an answer that is of no use"


def test_an_id_outside_the_catalogue_is_counted_as_such():
    strategy = strategy_of(InsertionSection(candidates=6), "id")
    rows = asked(strategy, TRAIN[:1])
    tokens = prompts_of("id").tokenizer(" i999,", add_special_tokens=False)["input_ids"]
    ((found,),) = proposals(strategy, answered(rows, [[written(tokens)]]))
    assert (found["item"], found["outcome"]) == (None, NOT_IN_CATALOGUE)


def test_a_ranking_is_asked_without_a_recommenders_hint():
    """Tuning has no prompts with a heading for hints and nothing under it."""
    strategy, prompts = strategy_of(InsertionSection(candidates=4), "title"), prompts_of("title")
    prompt = asked(strategy, TRAIN)["prompts"][0].as_py()[0]
    text = prompts.tokenizer.decode(prompt)
    assert "Rank the candidates" in text and "recommender" not in text and "similar" not in text


def test_a_user_who_took_all_but_one_warm_item_is_not_asked_about():
    strategy = strategy_of(InsertionSection(), "token")
    assert len(asked(strategy, [[*range(COLD - 1)]])) == 0
    assert len(asked(strategy, [[*range(COLD - 2)]])["shown"][0]) == 2
