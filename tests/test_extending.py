"""The examples in docs/examples: a recommender and a strategy of another package, found by its entry points."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from longtail import registry
from longtail.errors import InputError
from longtail.recipe import dump_recipe, load_recipe
from longtail.schema import ACCEPTED, ALREADY_SEEN, HELD_OUT, NOT_CHOSEN
from tests.augment.strategies.conftest import (
    answered,
    asked,
    catalogue_of,
    options,
    prompts_of,
    proposals,
    strategy_of,
    written,
)
from tests.conftest import ROOT

EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Installs an example as a package would: installed(group, name) for the entry point `name = "name"` of a group."""
    tables = (registry.recommenders, registry.strategies)

    def install(group: str, name: str) -> None:
        info = tmp_path / f"site/{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}\n")
        monkeypatch.syspath_prepend(str(EXAMPLES))
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        for table in tables:
            table.cache_clear()

    yield install
    monkeypatch.undo()
    for table in tables:
        table.cache_clear()


def test_a_strategy_of_another_package(installed: Callable[[str, str], None], tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: x\nvariants: [observed]\naugment: [{strategy: latest_items, keep: 2}]\n")
    with pytest.raises(InputError, match=r"no strategy 'latest_items': .*known: next_item, .*screening"):
        load_recipe(path)
    installed("longtail.strategies", "latest_items")
    recipe = load_recipe(path)
    (section,) = recipe.augment
    assert (section.latest, section.keep, recipe.roles) == (3, 2, ())

    # The user took 1 to 5; 9 is held out, and of what is new two are accepted.
    train, held_out, answer = [[1, 2, 3, 4, 5]], [[9]], [7, 5, 9, 8, 6]
    outcomes = [ACCEPTED, ALREADY_SEEN, HELD_OUT, ACCEPTED, NOT_CHOSEN]
    for rendering in ("token", "title"):
        strategy, prompts = strategy_of(section, rendering), prompts_of(rendering)
        requests = asked(strategy, train, held_out)
        assert requests["prompts"].to_pylist() == [[prompts.next_item(np.array([3, 4, 5])).tolist()]]
        if rendering == "token":
            said = options(catalogue_of(rendering).tokens(np.array(answer)), 0.5 ** np.arange(1.0, 6.0))
        else:
            said = written(np.concatenate([prompts.items.of(item) for item in answer]))
        (found,) = proposals(strategy, answered(requests, [[said]]))
        assert [one["item"] for one in found] == answer
        assert [one["outcome"] for one in found] == outcomes

    path.write_text(dump_recipe(recipe))
    assert load_recipe(path) == recipe
    with pytest.raises(InputError, match=r"augment.0.latest_items.latst': did you mean 'latest'"):
        load_recipe(path, ["augment.0.latst=4"])
    with pytest.raises(InputError, match=r"augment.0.latest_items.latest = 0: .*greater than or equal to 1"):
        load_recipe(path, ["augment.0.latest=0"])


def test_the_example_of_a_strategy_is_short() -> None:
    assert len((EXAMPLES / "latest_items.py").read_text().splitlines()) < 60
