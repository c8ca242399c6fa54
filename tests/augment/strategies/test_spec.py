"""What a strategy declares: its file is the registry's, the recipe finds it, and what it builds travels to a Ray task."""

from pathlib import Path

import pytest

from longtail.augment.strategies.spec import Tools
from longtail.augment.strategies.strategy import requests
from longtail.data import Prepared
from longtail.llm.prompts.hints import build_hints
from longtail.recipe import Recipe
from longtail.registry import strategy_spec
from longtail.workspace import Workspace
from tests.augment.strategies.conftest import histories, prompts_of, store, strategy_of

LOG = [[0, 1, 2], [0, 1, 5, 6, 7, 8], [1, 5, 6, 9], [1, 5, 2, 7]]
SECTIONS = (
    {"strategy": "next_item"},
    {"strategy": "id_list"},
    {"strategy": "pairs"},
    {"strategy": "pairs", "choose": "top"},
    {"strategy": "cold_pairs"},
    {"strategy": "insertion"},
    {"strategy": "ranking", "candidates": 4},
    {"strategy": "ranking", "mode": "pointwise"},
    {"strategy": "ranking", "recommender": "swing"},
    {"strategy": "screening"},
)
DISCRIMINATED = {"pairs", "cold_pairs", "screening"}


@pytest.fixture(scope="module")
def ws(tmp_path_factory) -> Workspace:
    """Data, and of the LLMs what `build` reads: their tokenizers."""
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
    assert spec.role_of(chosen) == role
    built = spec.build(chosen, Tools.open(recipe, role, ws, Prepared(ws)))
    asked_of = section.get("recommender", "itemcf")
    hints = build_hints(ws / "data", asked_of, getattr(recipe.recommenders, asked_of), recipe.seed)
    here = requests(table, strategy_of(chosen, "token", hints), "salt", 7)
    there = ray.get(ray.remote(requests).remote(table, ray.put(built), "salt", 7))
    assert len(here) and there.equals(here)
