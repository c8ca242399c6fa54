"""Users for cold items: each item gets its number of users and no more, by text or by the mean of two places."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.augment.strategies.cold_users import MORE, ColdUsersSection
from longtail.errors import InputError
from longtail.recipe import Recipe
from longtail.schema import ACCEPTED, ANSWERS, NOT_CHOSEN
from tests.augment.strategies.conftest import (
    COLD,
    answered,
    asked,
    catalogue_of,
    prompts_of,
    scored,
    strategy_of,
    takers_of,
)

LOGS = st.lists(
    st.lists(st.integers(0, COLD - 1), unique=True, min_size=1, max_size=6), min_size=1, max_size=12
)


def decided(section: ColdUsersSection, train: list[list[int]], seed: int = 0, failed: int = -1) -> list[dict]:
    """The proposals after `together`, each with its user. failed: a row that the engine rejects."""
    strategy, rng = strategy_of(section, "title", train=train), np.random.default_rng(seed)
    rows = asked(strategy, train)
    said = [
        None if place == failed else [scored(one, strategy.sampling.scored, rng) for one in row["prompts"]]
        for place, row in enumerate(rows.to_pylist())
    ]
    read = answered(rows, said)
    column = strategy.read(read).column(len(read))
    blank = {field.name: pa.nulls(len(read), field.type) for field in ANSWERS}
    table = pa.table(blank | {"user": read["user"], "proposals": column}, ANSWERS)
    found = strategy.together(table)
    assert found.schema.equals(ANSWERS)
    return [one | {"user": row["user"]} for row in found.to_pylist() for one in row["proposals"]]


@settings(max_examples=60)
@given(train=LOGS, per_item=st.integers(1, 4))
def test_by_text_each_item_has_its_most_similar_users(train, per_item):
    section = ColdUsersSection(per_item=per_item)
    found = decided(section, train)
    takers = takers_of(train, per_item)
    expected = {(user, int(item)) for user in range(len(train)) for item in takers.items[takers.of(user)]}
    assert {(one["user"], one["item"]) for one in found} == expected and len(found) == len(expected)
    assert {one["outcome"] for one in found} <= {ACCEPTED}
    assert all(0 < one["confidence"] <= 1 for one in found)
    assert all(one["likelihood"] is None for one in found), "no LLM has said anything"


@settings(max_examples=60)
@given(train=LOGS, per_item=st.integers(1, 3), seed=st.integers(0, 99), failed=st.integers(-1, 4))
def test_with_an_llm_the_mean_of_two_places_decides(train, per_item, seed, failed):
    """Compared with a loop over items. Users about whom the engine failed are out, in both places."""
    section = ColdUsersSection(per_item=per_item, ask="likelihood")
    found, takers = decided(section, train, seed, failed), takers_of(train, MORE * per_item)
    by_item: dict[int, list[dict]] = {}
    for one in found:
        by_item.setdefault(one["item"], []).append(one)
    for item, own in by_item.items():
        for one in own:
            span = takers.of(one["user"])
            one["place"] = int(takers.places[span][takers.items[span].tolist().index(item)])
        by_text = sorted(own, key=lambda one: one["place"])
        by_llm = sorted(own, key=lambda one: (-one["likelihood"], one["place"]))
        means = [((by_text.index(one) + by_llm.index(one)) / 2, one["place"], one) for one in own]
        best = [one for *_, one in sorted(means, key=lambda row: row[:2])]
        assert [one["outcome"] for one in best] == [
            ACCEPTED if place < per_item else NOT_CHOSEN for place in range(len(best))
        ]
        assert [one["confidence"] for one in best] == sorted((one["confidence"] for one in own), reverse=True)


def test_a_question_is_the_text_of_the_item_after_the_history():
    train = [[0, 1, 2], [6, 7]]
    strategy, prompts = (
        strategy_of(ColdUsersSection(ask="likelihood"), "title", train=train),
        prompts_of("title"),
    )
    for row in asked(strategy, train).to_pylist():
        expected = [
            [*prompts.next_item(np.array(row["history"])), *prompts.items.of(item)] for item in row["shown"]
        ]
        assert row["prompts"] == expected and expected


def test_text_alone_needs_no_llm():
    """Nothing is tuned, and no prompt is written."""
    recipe = Recipe.model_validate(
        {"name": "x", "augment": [{"strategy": "cold_users"}], "variants": ["observed", "cold_users"]}
    )
    assert recipe.roles == () and recipe.augmented
    asking = [{"strategy": "cold_users", "ask": "likelihood"}]
    assert Recipe.model_validate(recipe.model_dump() | {"augment": asking}).roles == ("generator",)
    strategy = strategy_of(ColdUsersSection(), "title")
    assert strategy.prompts is None and not any(asked(strategy, [[0, 1], [2]])["prompts"].to_pylist()[0])


def test_a_catalogue_without_cold_items_has_no_users_for_them(monkeypatch):
    monkeypatch.setitem(vars(catalogue_of("title")), "cold", np.zeros(0, np.int32))
    with pytest.raises(InputError, match="cold_users: none of 30 items is cold"):
        strategy_of(ColdUsersSection(), "title")
