"""The recipe: what is misspelt is named with its neighbour, what is set is set, what is saved loads again."""

from pathlib import Path

import pytest
import yaml

from app.errors import InputError
from app.recipe import Recipe, dump_recipe, load_recipe

SHIPPED = sorted((Path(__file__).resolve().parents[1] / "jobs" / "recipes").glob("*.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_every_shipped_recipe_loads_and_survives_a_round_trip(path, tmp_path):
    recipe = load_recipe(path)
    assert load_recipe(write(tmp_path, dump_recipe(recipe))) == recipe


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nrecommenders: {swig: {}}", "unknown key 'recommenders.swig': did you mean 'swing'"),
        ("name: x\ndataset: {columms: {}}", "unknown key 'dataset.columms': did you mean 'columns'"),
        ("name: x\naugment: [{strategy: next_item, propsals: 3}]", "did you mean 'proposals'"),
        ("name: x\njudge: {weight: 0}", "judge.weight = 0"),
        ("name: x\njudge: {likelihood: 0, agreement: 0, yes_no: 0}", "at least one of"),
        ("name: x\nvariants: [generated]", "must contain 'observed'"),
        (
            "name: x\nvariants: [observed]\nrecommenders: {swing: {variants: [observed, random]}}",
            "recommenders.swing.variants",
        ),
        ("name: ../x", "name = '../x'"),
        ("- a\n- b", "mapping of sections"),
        ("name: [", "not YAML"),
        ("name: x\nvalue: !!python/object/apply:os.system ['true']", "not YAML"),
    ],
)
def test_a_fault_names_the_key_and_the_fix(tmp_path, text, message):
    with pytest.raises(InputError) as error:
        load_recipe(write(tmp_path, text))
    assert message in str(error.value) and "recipe.yaml" in str(error.value)


def test_changes_reach_sections_and_lists(tmp_path):
    path = write(tmp_path, "name: x\naugment: [{strategy: next_item, proposals: 3}]")
    recipe = load_recipe(
        path, ["dataset.simulation.users=50", "augment.0.proposals=4", "recommenders.bpr={}", "seed=9"]
    )
    assert recipe.dataset.simulation.users == 50 and recipe.augment[0].proposals == 4
    assert recipe.recommenders.bpr is not None and recipe.seed == 9


@pytest.mark.parametrize("change", ["seed", "=3", "augment.proposals=3", "name.x=1", "seed=[", "sed=3"])
def test_a_change_that_cannot_be_made_says_so(tmp_path, change):
    with pytest.raises(InputError):
        load_recipe(write(tmp_path, "name: x\naugment: [{strategy: next_item}]"), [change])


def test_a_missing_recipe_is_named():
    with pytest.raises(InputError, match="no such recipe"):
        load_recipe("nowhere.yaml")


def test_the_dump_holds_every_default():
    saved = yaml.safe_load(dump_recipe(Recipe(name="x")))
    assert saved["judge"]["weight"] == 0.3 and saved["generator"]["tail_weight"] == 4.0
