"""Hard negatives are what the generator finds likely: the same as asking it step by step, and the same in any batch."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from longtail.llm.examples.hard_negatives import LIKELIEST, Misses
from longtail.llm.prompts.building import Prompts
from longtail.llm.small_llama import build_tokenizer
from longtail.schema import ITEMS
from longtail.workspace import Workspace
from longtail.workspace.place import Place

N_ITEMS = 150
HISTORY = 6


@pytest.fixture(scope="module")
def generator(tmp_path_factory) -> tuple[Place, Prompts, LlamaForCausalLM]:
    """An untrained Llama, so that likely items are spread over the catalogue."""
    rows = [
        {
            "item": item,
            "item_id": str(item),
            "title": None,
            "attributes": [],
            "train_count": 1,
            "slice": "mid",
        }
        for item in range(N_ITEMS)
    ]
    items = pa.Table.from_pylist(rows, ITEMS)
    tokenizer = build_tokenizer(items, "token")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=1,
        initializer_range=0.4,
    )
    model = LlamaForCausalLM(config).eval()
    place = Workspace(str(tmp_path_factory.mktemp("ws"))) / "generator"
    model.save_pretrained(place.path)
    tokenizer.save_pretrained(place.path)
    return place, Prompts.open(place, items, "token", HISTORY), model


@pytest.fixture
def misses(generator, ray_here) -> Misses:
    import ray

    place, prompts, _ = generator
    return Misses(place, ray.put(prompts), count=LIKELIEST, seed=5)


def batch(histories: list[list[int]]) -> pa.Table:
    columns = {
        "user": range(len(histories)),
        "items": histories,
        "train_end": [max(0, len(h) - 2) for h in histories],
    }
    types = {"user": pa.int32(), "items": pa.list_(pa.int32()), "train_end": pa.int32()}
    return pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})


def histories(count: int = 45) -> list[list[int]]:
    rng = np.random.default_rng(1)
    return [rng.permutation(N_ITEMS)[: rng.integers(0, 25)].tolist() for _ in range(count)]


def test_they_are_the_likeliest_items_that_the_user_did_not_take_after_each_step(misses, generator):
    """The twin asks the model with every prompt of inference by itself; windows differ in how far they look back."""
    _, prompts, model = generator
    table = batch(histories())
    checked = 0
    for items, end, hard in zip(
        table["items"].to_pylist(),
        table["train_end"].to_pylist(),
        misses(table)["hard"].to_pylist(),
        strict=True,
    ):
        found = np.array(hard, int).reshape(end, LIKELIEST)
        for step in range(1, min(end, HISTORY) + 1):  # all of these see the whole history
            prompt = prompts.next_item(np.array(items[:step], np.int32))
            with torch.no_grad():
                logits = model(torch.from_numpy(prompt.astype(np.int64))[None]).logits[0, -1]
            scores = logits[torch.from_numpy(prompts.items.tokens.astype(np.int64))].numpy()
            scores[items[:end]] = -np.inf
            assert set(found[step - 1]) == set(np.argsort(-scores)[:LIKELIEST])
            checked += 1
        assert not np.isin(found, items[:end]).any() and (found >= 0).all()
    assert checked > 100


def test_who_else_is_in_the_batch_does_not_matter(misses):
    table = batch(histories())
    whole = misses(table)["hard"].to_pylist()
    parts = [misses(table.slice(start, 7))["hard"].to_pylist() for start in range(0, table.num_rows, 7)]
    assert whole == [hard for part in parts for hard in part]


def test_a_catalogue_taken_whole_leaves_none(misses):
    (hard,) = misses(batch([list(range(N_ITEMS)) + [0, 0]]))["hard"].to_pylist()
    assert set(hard) == {-1} and len(hard) == N_ITEMS * LIKELIEST
