"""Rankings: all of the recommender's best items in the LLM's order. If none is ranked, no list."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.augment.discriminate import finished
from longtail.augment.judge import rankings
from longtail.augment.strategies.ranking import RankingSection
from longtail.recipe import Generator, Judge
from longtail.registry import strategy_spec
from longtail.schema import ACCEPTED, DUPLICATE, UNPARSABLE
from tests.augment.strategies.conftest import (
    N_ITEMS,
    answered,
    asked,
    catalogue_of,
    hints_of,
    listed,
    options,
    prompts_of,
    proposals,
    strategy_of,
    written,
)

LOG = [[0, 1, 2], [0, 1, 5, 6, 7, 8], [1, 5, 6, 9], [1, 5, 2, 7], [20, 21]]
HINTS = hints_of(LOG)
PROBABILITIES = st.lists(st.floats(1e-5, 0.1), min_size=5, max_size=5, unique=True)


def rows_of(rendering: str, mode: str = "listwise"):
    strategy = strategy_of(RankingSection(candidates=5, mode=mode), rendering, HINTS)
    return strategy, asked(strategy, LOG)


@pytest.mark.parametrize("rendering", ["token", "title", "id"])
def test_the_prompt_is_that_of_tuning_with_the_candidates_shuffled(rendering):
    strategy, rows = rows_of(rendering)
    prompts, shuffled = prompts_of(rendering), []
    for row in rows.to_pylist():
        best = HINTS.top(np.array(row["history"]), 5)
        assert row["shown"] == best.tolist() and not set(row["shown"]) & set(row["history"])
        similar = HINTS.similar(row["user"], np.array(row["history"]))
        candidates = np.random.default_rng([7, row["user"]]).permutation(best)
        room = strategy.sampling.max_tokens
        expected = prompts.ranking(np.array(row["history"]), candidates, best, similar, room)
        assert row["prompts"] == [expected.tolist()]
        shuffled.append(candidates.tolist() != best.tolist())
    assert any(shuffled) and rows["user"].to_pylist() == [0, 1, 2, 3], "user 4 has no candidates"


def test_the_prompt_leaves_out_what_the_generator_was_not_taught():
    strategy = strategy_of(RankingSection(candidates=5), "token", HINTS, tuning=Generator(prior_list=False))
    row = asked(strategy, LOG).to_pylist()[0]
    text = prompts_of("token").tokenizer.decode(row["prompts"][0])
    assert "recommender" not in text and "similar user" in text
    nobody = replace(HINTS, similar_user="none")
    row = asked(strategy_of(RankingSection(candidates=5), "token", nobody), LOG).to_pylist()[0]
    text = prompts_of("token").tokenizer.decode(row["prompts"][0])
    assert "recommender" in text and "similar user" not in text


@settings(max_examples=60)
@given(probabilities=PROBABILITIES)
def test_item_tokens_are_ranked_by_their_share_of_the_candidates(probabilities):
    strategy, rows = rows_of("token")
    shown = rows["shown"][0].as_py()
    said = [options(catalogue_of("token").tokens(np.array(shown)), probabilities)]
    found, *others = proposals(strategy, answered(rows, [said, None, None, None]))
    order = np.argsort(-np.array(probabilities, np.float32), kind="stable")
    assert [p["item"] for p in found] == [shown[one] for one in order]
    assert all(p["outcome"] == ACCEPTED for p in found)
    assert sum(p["likelihood"] for p in found) == pytest.approx(1, abs=1e-4) and not any(others)


@settings(max_examples=60)
@given(probabilities=PROBABILITIES)
def test_pointwise_ranks_by_the_probability_of_yes(probabilities):
    strategy, rows = rows_of("token", "pointwise")
    prompts, shown = prompts_of("token"), rows["shown"][0].as_py()
    history = np.array(LOG[0])
    assert rows["prompts"][0].as_py() == [prompts.yes_no(history, item).tolist() for item in shown]
    said = [options([prompts.yes, prompts.no], [p, 3 * p + 0.01]) for p in probabilities]
    found, *_ = proposals(strategy, answered(rows, [said, None, None, None]))
    expected = [p / (4 * p + 0.01) for p in probabilities]
    order = np.argsort(-np.array(expected), kind="stable")
    assert [p["likelihood"] for p in found] == pytest.approx([expected[one] for one in order], rel=1e-4)
    assert {p["item"]: p["likelihood"] for p in found} == pytest.approx(
        dict(zip(shown, expected, strict=True)), rel=1e-4
    )
    assert strategy_spec("ranking").role_of(strategy.section) == "discriminator"


@settings(max_examples=60)
@given(
    rendering=st.sampled_from(["title", "id"]),
    names=st.lists(st.integers(-1, 5), max_size=8),
)
def test_a_written_list_comes_first_and_the_rest_follows_the_recommender(rendering, names):
    """Compared with brute force. names: indices of candidates; -1 and 5 mean an item that was not shown."""
    strategy, rows = rows_of(rendering)
    shown = rows["shown"][0].as_py()
    strange = next(item for item in range(N_ITEMS) if item not in shown)
    said = written(listed(rendering, [shown[name] if 0 <= name < 5 else strange for name in names]))
    found, *_ = proposals(strategy, answered(rows, [[said], None, None, None]))
    order = list(dict.fromkeys(name for name in names if 0 <= name < 5))
    order += [name for name in range(len(shown)) if name not in order] if order else []
    ranked = [p for p in found if p["outcome"] == ACCEPTED]
    assert [p["item"] for p in ranked] == [shown[name] for name in order]
    assert [p["likelihood"] for p in ranked] == pytest.approx([1 - s / len(order) for s in range(len(order))])
    rest = [p["outcome"] for p in found if p not in ranked]
    strangers = sum(not 0 <= name < 5 for name in names)
    assert rest.count(UNPARSABLE) == strangers and len(found) == len(ranked) + len(rest)
    assert rest.count(DUPLICATE) == len(names) - strangers - len({name for name in names if 0 <= name < 5})


@pytest.mark.parametrize("rendering", ["token", "title"])
def test_the_published_list_is_in_this_order(rendering):
    """Agreement is null here, and the list of a user must still be in the LLM's order."""
    strategy, rows = rows_of(rendering)
    shown = rows["shown"][0].as_py()
    order = [3, 1, 0, 4, 2]
    if rendering == "token":
        tokens = catalogue_of("token").tokens(np.array(shown)[order])
        said = options(tokens, [0.3, 0.2, 0.1, 0.05, 0.01])
    else:
        said = written(listed("title", [shown[place] for place in order]))
    answers = answered(rows, [[said], None, None, None])
    column = strategy.read(answers).column(len(answers))
    zeros = np.zeros(len(answers), np.int32)
    for name in ("prompt_tokens", "output_tokens", "seconds", "questions"):
        answers = answers.append_column(name, [zeros])
    kept = finished(answers.append_column("proposals", column), "ranking")
    published = rankings(kept, Judge(), catalogue_of(rendering).rare).to_pylist()
    assert [row["items"] for row in published] == [[shown[place] for place in order]]
    assert published[0]["scores"] == sorted(published[0]["scores"], reverse=True)
