"""The examples in docs/examples: a recommender and a strategy of another package, found by its entry points."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from longtail import registry
from longtail.errors import InputError
from longtail.recipe import Recipe, dump_recipe, load_recipe
from longtail.recommenders import build, load
from longtail.report.summary import title
from longtail.schema import ACCEPTED, ALREADY_SEEN, NOT_CHOSEN
from longtail.search.spaces import draw
from longtail.workspace import Workspace
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
from tests.recommenders.conftest import interactions

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

    # The user took 1 to 5, and of what is new two are accepted.
    train, answer = [[1, 2, 3, 4, 5]], [7, 5, 9, 8, 6]
    outcomes = [ACCEPTED, ALREADY_SEEN, ACCEPTED, NOT_CHOSEN, NOT_CHOSEN]
    for rendering in ("token", "title"):
        strategy, prompts = strategy_of(section, rendering), prompts_of(rendering)
        requests = asked(strategy, train)
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


def test_a_recommender_of_another_package(installed: Callable[[str, str], None], tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("name: x\nvariants: [observed]\nrecommenders: {markov: {damping: 0}, itemcf: {}}\n")
    with pytest.raises(
        InputError, match=r"unknown key 'recommenders.markov': known here: popularity, .*sasrec"
    ):
        load_recipe(path)
    installed("longtail.recommenders", "markov")
    recipe = load_recipe(path)
    assert list(recipe.recommenders) == ["itemcf", "markov"] and title("markov") == "Markov"

    # Everybody takes 0, 1, 2, 3 in this order, from another item on; the second has 5 generated after 3.
    train = interactions([[0, 1, 2], [1, 2, 3], [2, 3]], 6, [[], [5], []])
    model = build("markov", recipe.recommenders["markov"], recipe.seed).fit(train)
    items, scores = model.recommend(np.arange(3), 2)
    np.testing.assert_array_equal(items, [[3, -1], [5, -1], [5, -1]])
    np.testing.assert_allclose(scores[:, 0], [2, 0.3, 0.3])
    model.save(Workspace(str(tmp_path)) / "model")
    again = load(Workspace(str(tmp_path)) / "model")
    np.testing.assert_array_equal(
        again.recommend_history([np.array([0])], 3), model.recommend_history([[0]], 3)
    )

    assert {section.damping for section in draw(recipe, "markov")} == {0.0, 0.25, 0.5, 0.75}
    path.write_text(dump_recipe(recipe))
    assert load_recipe(path) == recipe
    with pytest.raises(InputError, match=r"recommenders.markov.dampin': did you mean 'damping'"):
        load_recipe(path, ["recommenders.markov.dampin=0.1"])
    with pytest.raises(InputError, match=r"recommenders.markov.damping = 2: .*less than or equal to 1"):
        load_recipe(path, ["recommenders.markov.damping=2"])


def test_the_example_of_a_recommender_is_short() -> None:
    assert len((EXAMPLES / "markov.py").read_text().splitlines()) < 60


def test_what_is_installed_but_not_named_changes_no_recipe(installed: Callable[[str, str], None]) -> None:
    before = Recipe(name="x").model_dump(mode="json")
    installed("longtail.recommenders", "markov")
    assert Recipe(name="x").model_dump(mode="json") == before
