"""A small catalogue with awkward titles, and random bases in folders."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from longtail.schema import ITEMS

TITLES = ["Trail shoe red", "Trail shoe blue", "Café déjà-vu", "Answer: Yes", None, "Twin", "Twin", "x" * 400]


@pytest.fixture(scope="session")
def catalogue() -> pa.Table:
    titles = TITLES + [f"Tent model {code}" for code in range(len(TITLES), 40)]
    rows = [
        {
            "item": code,
            "item_id": f"sku-{code}",
            "title": title,
            "attributes": [("category", "outdoor" if code % 2 else "town")],
            "train_count": code,
            "slice": "tail" if code < 10 else "mid",
        }
        for code, title in enumerate(titles)
    ]
    return pa.Table.from_pylist(rows, ITEMS)


@pytest.fixture
def base(tmp_path: Path, catalogue: pa.Table) -> Callable[..., Path]:
    """Writes a random base into a folder: base(config, dtype)."""
    import torch
    from transformers import AutoModelForCausalLM

    from longtail.llm.prompts.item_text import item_texts
    from tests.llm.bases import shape, tokenizer_of

    def write(config=None, dtype=None, name="base"):
        torch.manual_seed(1)
        folder = tmp_path / name
        model = AutoModelForCausalLM.from_config(config or shape(), dtype=dtype or torch.float32)
        model.save_pretrained(folder)
        tokenizer_of(item_texts(catalogue, "title"), eos_token="</s>").save_pretrained(folder)
        return folder

    return write
