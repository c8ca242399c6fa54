"""Titles under a grammar, on the real engine: an untuned LLM writes only titles of the catalogue."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from longtail.augment.strategies.item_tokens import Catalogue
from longtail.augment.strategies.written_lists import ListReader
from longtail.llm.prompts.building import Prompts
from longtail.llm.small_llama import build_tokenizer
from longtail.llm.vllm_pool import Sampling, ask
from longtail.recipe import Resources
from longtail.schema import ITEMS
from longtail.workspace.place import Place

CONTEXT, REQUESTS, TITLES = 256, 64, 500
WORDS = (
    "oak",
    "pine",
    "wool",
    "glass",
    "Café",
    "large",
    "small",
    'the "best"',
    "chair",
    "desk",
    "rug",
    "(set)",
)


@pytest.fixture(scope="module")
def items() -> pa.Table:
    """Titles with the same beginning, equal titles, and titles without any word."""
    rng = np.random.default_rng(3)
    rows = [
        {
            "item": code,
            "item_id": f"sku-{code}",
            "title": " ".join(rng.choice(WORDS, rng.integers(0, 6))),
            "attributes": [],
            "slice": "mid" if code % 2 else "tail",
        }
        for code in range(TITLES)
    ]
    return pa.Table.from_pylist(rows, ITEMS)


def _write_llm(folder: str, tokenizer: PreTrainedTokenizerBase) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 7, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=CONTEXT, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_all_that_is_written_is_an_allowed_title(ray_here: None, items: pa.Table) -> None:
    import ray.data

    tokenizer = build_tokenizer(items, "title")
    reader = ListReader(tokenizer, Catalogue(items, "title", tokenizer))
    prompts = Prompts(tokenizer, items, "title", 5, CONTEXT - 1)
    allowed = np.arange(TITLES) % 2 == 1
    rng = np.random.default_rng(4)
    asked = pa.table(
        {
            "request_id": [f"{number:016x}" for number in range(REQUESTS)],
            "prompts": pa.array(
                [[prompts.next_item(rng.integers(0, TITLES, 4))] for _ in range(REQUESTS)],
                pa.list_(pa.list_(pa.int32())),
            ),
            "options": pa.array([[]] * REQUESTS, pa.list_(pa.int32())),
        }
    )
    # Sampled, because greedy decoding of a random LLM gives the same answer to every prompt.
    sampling = Sampling(max_tokens=80, temperature=1.0, grammar=reader.grammar(allowed))
    with tempfile.TemporaryDirectory() as folder:
        _write_llm(folder, tokenizer)
        step = ask(Place(pafs.LocalFileSystem(), str(Path(folder))), Resources(), CONTEXT, sampling)
        batches = list(step(ray.data.from_arrow(asked)).iter_batches(batch_format="pyarrow", batch_size=None))
    answers = pa.concat_tables(batches)
    found = reader.read(answers)
    assert answers["error"].null_count == answers.num_rows == REQUESTS
    assert len(found.items) > REQUESTS and allowed[found.items].all() and (found.items >= 0).all()
    assert len(set(found.items.tolist())) > 50, "or a few titles would prove little"
    assert (found.likelihood > 0).all() and (found.likelihood <= 1).all()
