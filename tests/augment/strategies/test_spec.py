"""What a strategy declares: the registry names its file, the recipe finds it, and what it builds can be pickled for Ray."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from longtail.augment.strategies.spec import StrategySpec, Tools
from longtail.augment.strategies.strategy import requests
from longtail.data import Prepared
from longtail.llm.prompts.hints import build_hints
from longtail.recipe import Recipe, Role, Task, load_recipe
from longtail.registry import strategies, strategy_spec
from longtail.text.text_source import TextSource
from longtail.workspace import Workspace
from tests.augment.strategies.conftest import LOG, histories, prompts_of, store, strategy_of

SECTIONS = (
    {"strategy": "next_item"},
    {"strategy": "id_list"},
    {"strategy": "pairs"},
    {"strategy": "pairs", "choose": "top"},
    {"strategy": "pairs", "ask": "likelihood"},
    {"strategy": "cold_pairs"},
    {"strategy": "cold_pairs", "ask": "pmi"},
    {"strategy": "cold_users"},
    {"strategy": "cold_users", "ask": "likelihood"},
    {"strategy": "insertion"},
    {"strategy": "ranking", "candidates": 4},
    {"strategy": "ranking", "mode": "pointwise"},
    {"strategy": "ranking", "recommender": "swing"},
    {"strategy": "screening"},
)
DISCRIMINATED = {"pairs", "cold_pairs", "screening"}


@pytest.fixture(scope="module")
def ws(tmp_path_factory) -> Workspace:
    """A workspace with data and the tokenizers of the LLMs, which is all that `build` reads."""
    made = Workspace(str(tmp_path_factory.mktemp("ws")))
    stage = made.stage("data", {})
    with stage.publishing() as draft:
        (draft / "histories/a.parquet").write_table(histories(LOG, [[10, 11]] * len(LOG)))
        (draft / "items.parquet").write_table(store())
        stage.counts = {"users": len(LOG), "items": store().num_rows}
    for role in ("generator", "discriminator"):
        folder = Path((made / f"llm/{role}").path)
        prompts_of("token").tokenizer.save_pretrained(folder)
    return made


@pytest.mark.parametrize("name", strategies())
def test_every_registered_strategy_declares_what_the_recipe_finds(name):
    spec = strategy_spec(name)
    assert isinstance(spec, StrategySpec)
    assert Path(sys.modules[spec.settings.__module__].__file__).stem == name
    section = spec.settings()
    assert section.strategy == name
    role, task = spec.role_of(section), spec.task_of(section)
    assert role in (*get_args(Role), None) and task in get_args(Task)
    assert not (spec.judged and spec.judge), "one judge decides"
    taught = {"generator": {"tasks": {"next_item": 1}}, "discriminator": {"tasks": {"yes_no": 1}}}
    taught[role or "generator"]["tasks"][task] = 1
    recipe = Recipe.model_validate(
        {"name": "x", "augment": [{"strategy": name}], "variants": ["observed"]} | taught
    )
    assert recipe.augment == [section] and type(recipe.augment[0]) is spec.settings
    assert recipe.ranking_strategies == ((name,) if spec.ranks else ())


def test_what_is_declared_is_what_each_paper_asks():
    """The expected declarations of all strategies, in one table."""
    declared = {name: strategy_spec(name) for name in strategies()}
    answered = {
        name: (spec.role_of(spec.settings()), spec.task_of(spec.settings()))
        for name, spec in declared.items()
    }
    assert answered == {
        "next_item": ("generator", "next_item"),
        "id_list": ("generator", "id_list"),
        "insertion": ("generator", "next_item"),
        "pairs": ("discriminator", "preference"),
        "cold_pairs": ("discriminator", "preference"),
        "cold_users": (None, "next_item"),
        "ranking": ("generator", "ranking"),
        "screening": ("discriminator", "yes_no"),
    }
    pointwise, ranking = declared["ranking"].settings(mode="pointwise"), declared["ranking"]
    assert (ranking.role_of(pointwise), ranking.task_of(pointwise)) == ("discriminator", "yes_no")
    for name in ("pairs", "cold_pairs", "cold_users"):
        spec, likely = declared[name], declared[name].settings(ask="likelihood")
        assert (spec.role_of(likely), spec.task_of(likely)) == ("generator", "next_item")
    having = {
        field: [name for name, spec in declared.items() if getattr(spec, field)]
        for field in ("ranks", "judged", "judge", "preferring", "reads_texts", "together")
    }
    assert having == {
        "ranks": ["next_item", "ranking"],
        "judged": ["next_item"],
        "judge": ["screening"],
        "preferring": ["pairs", "cold_pairs"],
        "reads_texts": ["cold_users"],
        "together": ["cold_users"],
    }


def test_a_recipe_is_loaded_without_pytorch_or_vllm(tmp_path):
    """Checked for all strategies, and for a recipe sent to a worker: these imports take seconds and would not be used."""
    named = ", ".join(f"{{strategy: {name}}}" for name in strategies())
    tasks = "generator: {tasks: {next_item: 1, id_list: 1, ranking: 1}}\ndiscriminator: {tasks: {yes_no: 1, preference: 1}}"
    path = tmp_path / "all.yaml"
    path.write_text(f"name: all\naugment: [{named}]\n{tasks}\n")
    (tmp_path / "recipe").write_bytes(pickle.dumps(load_recipe(path)))
    heavy = "assert not {'torch', 'vllm', 'transformers', 'ray'} & {*sys.modules}, sorted(sys.modules)"
    for code in (
        f"from longtail.recipe import load_recipe; load_recipe('demo'); load_recipe({str(path)!r})",
        f"import pickle; pickle.load(open({str(tmp_path / 'recipe')!r}, 'rb'))",
    ):
        subprocess.run([sys.executable, "-c", f"import sys; {code}; {heavy}"], check=True)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda one: "-".join(map(str, one.values())))
def test_a_built_strategy_asks_in_a_task_what_it_asks_here(ray_here, ws, section):
    import ray

    recipe = Recipe.model_validate(
        {
            "name": "built",
            "augment": [section],
            "variants": ["observed"],
            "recommenders": {
                "itemcf": {"recency": 0.5, "normalisation": 0.3},
                "swing": {"recency": 0.7, "alpha": 2.0, "max_users": 3},
            },
            "generator": {"history": 6, "context": 501},
            "discriminator": {"history": 6, "context": 501},
        }
    )
    (chosen,), table = recipe.augment, histories(LOG, [[10, 11]] * len(LOG))
    spec, pointwise = strategy_spec(chosen.strategy), section.get("mode") == "pointwise"
    role = "discriminator" if section["strategy"] in DISCRIMINATED or pointwise else "generator"
    if section.get("ask") in ("likelihood", "pmi"):
        role = "generator"
    elif section["strategy"] == "cold_users":
        role = None
    assert spec.role_of(chosen) == role
    tools = Tools.open(recipe, role, role and ws / f"llm/{role}", Prepared(ws), TextSource(ws / "data"))
    built = spec.build(chosen, tools)
    asked_of = section.get("recommender", "itemcf")
    hints = build_hints(ws / "data", asked_of, recipe.recommenders[asked_of], recipe.seed)
    here = requests(table, strategy_of(chosen, "token", hints), "salt", 7)
    there = ray.get(ray.remote(requests).remote(table, ray.put(built), "salt", 7))
    assert len(here) and there.equals(here)
