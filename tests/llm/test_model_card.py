"""The model card: its figures are the curve's, its front matter is YAML, its code runs, and it tells no local path."""

import os
import re

import pyarrow as pa
import pyarrow.fs as pafs
import pytest
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from longtail.data import Prepared
from longtail.llm.model_card import write_card
from longtail.llm.small_llama import build_tokenizer
from longtail.recipe import Recipe
from longtail.workspace import Workspace
from longtail.workspace.place import Place

UNASKED = {"augment": [], "variants": ["observed"]}
"""A recipe that asks nothing, so that an LLM may be taught any task."""
CURVE = pa.table(
    {
        "step": pa.array([1, 2, 3, 4], pa.int64()),
        "loss": [7.25, 6.0, 5.0, 4.5],
        "lr": [0.1] * 4,
        "grad_norm": [1.0] * 4,
        "tokens": pa.array([1000, 2000, 3000, 4321], pa.int64()),
        "seconds": [10.0, 20.0, 30.0, 41.0],
        "valid_loss": pa.array([None, 5.125, None, 5.75], pa.float64()),
    }
)


@pytest.fixture
def card(tmp_path):
    """card(role="generator", curve=CURVE, **sections of the recipe) -> (text, place)."""
    ws = Workspace(str(tmp_path / "ws"))
    stage = ws.stage("data", {})
    with stage.publishing():
        stage.counts = {"users": 1234, "items": 40, "seconds": 0.5}

    def write(role="generator", curve=CURVE, **sections):
        place = Place(pafs.LocalFileSystem(), str(tmp_path / "llm" / role))
        (place / "curve.parquet").write_table(curve)
        recipe = Recipe.model_validate(UNASKED | {"name": "shop"} | sections)
        write_card(place, recipe, role, Prepared(ws), {"examples": 98765, "cut": 3}, 2)
        return (place / "README.md").read_bytes().decode(), place

    return write


def test_figures_are_those_of_the_curve_and_the_data(card, tmp_path):
    text, _ = card()
    assert "first 7.2500, last 4.5000" in text
    assert "best 5.1250 at step 2" in text
    assert "4,321 in 41 s" in text and "| workers | 2 |" in text
    assert "1,234 users, 40 items" in text and "98,765 examples, 3 cut" in text
    assert Prepared(Workspace(str(tmp_path / "ws"))).fingerprint in text
    import torch

    assert f"torch {torch.__version__}" in text


def test_a_curve_without_validation_claims_none(card):
    curve = CURVE.set_column(6, "valid_loss", pa.nulls(4, pa.float64()))
    assert "validation loss" not in card(curve=curve)[0]


@pytest.mark.parametrize("base", ["Qwen/Qwen2-0.5B", "gpt2"])
def test_front_matter_names_a_base_of_the_hub(card, base):
    front = yaml.safe_load(card(llm={"base": base})[0].split("---")[1])
    assert front["base_model"] == base and front["library_name"] == "transformers"
    assert front["tags"] == ["longtail", "recommendation", "generator"]


def test_what_came_as_a_package_is_named_as_at_the_hub_with_its_licence(card):
    front = yaml.safe_load(card(llm={"base": "smollm2"})[0].split("---")[1])
    assert front["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct" and front["license"] == "apache-2.0"


def test_a_base_on_this_machine_is_told_by_its_last_name(card, tmp_path):
    folder = tmp_path / "secret" / "my-llama"
    folder.mkdir(parents=True)
    text, _ = card(llm={"base": str(folder)})
    assert "`my-llama`" in text and str(tmp_path) not in text
    assert "base_model" not in text.split("---")[1]


def test_recipe_is_whole_and_can_be_read_back(card):
    sections = {"generator": {"epochs": 7, "tasks": {"id_list": 0.5}}, "llm": {"items": "id"}, "seed": 11}
    text, _ = card(**sections)
    told = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])
    recipe = Recipe.model_validate(UNASKED | {"name": "again"} | told)
    assert recipe == Recipe.model_validate(UNASKED | {"name": "again"} | sections)


@pytest.mark.parametrize(
    ("role", "tasks"),
    [("generator", "next_item"), ("generator", "ranking"), ("discriminator", "yes_no")],
)
@pytest.mark.parametrize("items", ["token", "title"])
def test_the_code_for_transformers_runs_beside_the_model(
    card, catalogue, capsys, monkeypatch, role, tasks, items
):
    text, place = card(role, llm={"items": items}, **{role: {"tasks": {tasks: 1.0}}})
    tokenizer = build_tokenizer(catalogue, items)
    tokenizer.save_pretrained(place.path)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=1,
        )
    ).save_pretrained(place.path)
    monkeypatch.chdir(place.path)
    first, second = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    capsys.readouterr()
    exec(compile(first, os.path.join("README.md"), "exec"), {})
    assert len(eval(capsys.readouterr().out)) == 10
    compile(second, "README.md", "exec")


def test_adapters_are_told_of_where_there_are_any(card):
    assert "adapter/" not in card()[0]
    text, _ = card(llm={"base": "gpt2"}, generator={"lora": 8})
    assert "`adapter/`" in text and "LoRA of rank 8" in text
