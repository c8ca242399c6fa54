"""The table of gates: which strategies have one, and what is refused before anything runs."""

import pytest

from jobs.gates import as_far_as_gates, preferring
from longtail.errors import InputError
from longtail.recipe import Recipe
from longtail.workspace import Workspace


def recipe(*strategies: dict) -> Recipe:
    return Recipe.model_validate({"name": "t", "augment": [*strategies], "variants": ["observed"]})


def test_strategies_that_ask_for_preferences_have_a_gate_unless_it_is_off() -> None:
    pairs, cold = {"strategy": "pairs", "ask": "pmi"}, {"strategy": "cold_pairs", "gate": False}
    assert preferring(recipe({"strategy": "next_item"}, pairs, cold)) == ["pairs"]


def test_without_one_there_is_nothing_to_measure(tmp_path) -> None:
    with pytest.raises(InputError, match="strategy: pairs"):
        as_far_as_gates(recipe({"strategy": "next_item"}), Workspace(str(tmp_path / "run")))
    assert not [*tmp_path.iterdir()]
