"""A pretrained base given by its path, titles as text, LoRA under ZeRO-3: the main job with decoded answers.

The base is random, so nearly all of its text is nonsense. Every answer is kept and counted, and no stage fails.
"""

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from longtail.augment import augment
from longtail.data import Prepared, prepare
from longtail.errors import InputError
from longtail.llm.finetune.finetune_stage import finetune
from longtail.llm.small_llama import build_tokenizer
from longtail.recipe import Recipe
from longtail.workspace import Workspace

pytestmark = pytest.mark.timeout(2400)
SETTINGS = {
    "name": "pretrained",
    "dataset": {"simulation": {"users": 60, "items": 40, "tastes": 4}},
    "generator": {"epochs": 1, "lora": 4, "zero": 3, "batch": 16, "context": 512},
    "augment": [{"strategy": "next_item", "proposals": 3}],
    "judge": {"yes_no": 0.0},
    "evaluation": {"protocol": "train-only"},
    "resources": {"llm_workers": 2},
}


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    ws = Workspace(str(tmp_path_factory.mktemp("pretrained")))
    base = Path(str(ws)) / "base"
    recipe = Recipe.model_validate(SETTINGS | {"llm": {"base": str(base), "items": "title"}})
    prepare(recipe, ws)
    tokenizer = build_tokenizer(Prepared(ws).items, "title")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=512, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(base)
    tokenizer.save_pretrained(base)
    finetune(recipe, ws)
    augment(recipe, ws)
    return ws


def test_adapters_are_merged_into_a_plain_model(ws):
    base = AutoModelForCausalLM.from_pretrained(f"{ws}/base")
    with (ws / "llm/generator").local() as folder:
        tuned = AutoModelForCausalLM.from_pretrained(folder)
    assert not [name for name, _ in tuned.named_parameters() if "lora" in name]
    weight = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.equal(base.state_dict()[weight], tuned.state_dict()[weight])


def test_nonsense_is_counted_and_every_user_has_an_answer(ws):
    rows = pq.read_table(f"{ws}/augmentation/next_item/answers").to_pylist()
    assert len({row["user"] for row in rows}) == len(rows) == 60
    assert all(row["error"] is None for row in rows)
    assert all(proposal["text"] is not None for row in rows for proposal in row["proposals"])
    written = Counter(proposal["outcome"] for row in rows for proposal in row["proposals"])
    counts = json.loads((ws / "augmentation/next_item/_manifest.json").read_bytes())["counts"]
    assert counts["proposals"] == sum(written.values()) == sum(counts["outcomes"].values())
    assert counts["output_tokens"] > counts["requests"]


def test_a_base_that_does_not_exist_is_named_before_anything_starts(ws, tmp_path):
    recipe = Recipe.model_validate(SETTINGS | {"llm": {"base": str(tmp_path / "nowhere"), "items": "title"}})
    with pytest.raises(InputError, match="nowhere"):
        finetune(recipe, ws)
