"""An untuned LLM, published in a workspace, for tests that need an engine but do not check the meaning of its answers."""

import tempfile

import numpy as np
import torch

from longtail.data import Prepared
from longtail.llm.prompts.item_text import item_texts
from longtail.llm.small_llama import SmallLlama, build_tokenizer
from longtail.workspace import Workspace


def write_llm(ws: Workspace, speechless: bool = False, role: str = "generator") -> None:
    """A random LLM of the base `small`. If it is `speechless` it never names an item: words are always likelier."""
    items = Prepared(ws).items
    tokenizer = build_tokenizer(items, "token")
    torch.manual_seed(0)
    model = SmallLlama(tokenizer, 2, 0.0, np.zeros((len(tokenizer), 1), np.float32)).export()
    if speechless:
        tokens = tokenizer.convert_tokens_to_ids(item_texts(items, "token"))
        with torch.no_grad():
            # About half of the words have a positive logit; every item has the logit 0.
            model.model.embed_tokens.weight[tokens] = 0.0
    with (
        tempfile.TemporaryDirectory() as folder,
        ws.stage(f"llm/{role}", {}, [ws / "data"]).publishing() as place,
    ):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        place.upload(folder)
