"""An LLM that nobody tuned, published in a workspace: what the engines of tests run that are not about its answers."""

import tempfile

import numpy as np
import torch

from longtail.data import Prepared
from longtail.llm.prompts.item_text import item_texts
from longtail.llm.small_llama import SmallLlama, build_tokenizer
from longtail.workspace import Workspace


def write_llm(ws: Workspace, speechless: bool = False, role: str = "generator") -> None:
    """A random `small`; one that is `speechless` never names an item: of what it could write, words come first."""
    items = Prepared(ws).items
    tokenizer = build_tokenizer(items, "token")
    torch.manual_seed(0)
    model = SmallLlama(tokenizer, 2, 0.0, np.zeros((len(tokenizer), 1), np.float32)).export()
    if speechless:
        tokens = tokenizer.convert_tokens_to_ids(item_texts(items, "token"))
        with torch.no_grad():
            # Half of the words have a positive logit, an item has none.
            model.model.embed_tokens.weight[tokens] = 0.0
    with (
        tempfile.TemporaryDirectory() as folder,
        ws.stage(f"llm/{role}", {}, [ws / "data"]).publishing() as place,
    ):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        place.upload(folder)
