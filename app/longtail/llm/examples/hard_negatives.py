"""Hard negatives: a tuned generator's misses, which are likely next items that the user did not take."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoModelForCausalLM

from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.windows import Window, windows
from longtail.runtime.cluster import fetch
from longtail.workspace.place import Place

LIKELIEST = 50
"""Misses are drawn uniformly from this many likeliest items. The very first are too often items the user would take."""

ROWS = 32
"""Sequences of one forward pass. Every pass has the same shape, because the shape decides how sums are rounded: the result
for a user must not depend on the other users in the batch."""


class Misses:
    """A Ray actor that adds a column `hard` list<int32> to rows of histories.

    The column holds `count` items for each of the steps 1..train_end, flat. None of them is in the training history; -1
    fills up if there are too few. One forward pass covers all steps of a window. Each item must be one token.
    """

    def __init__(self, generator: Place, prompts: Any, count: int, seed: int) -> None:
        """prompts: a Ray reference to the `Prompts` of the generator."""
        self.prompts: Prompts = fetch(prompts)
        self.count, self.seed = count, seed
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        # The CPU has no fast bf16.
        dtype = "auto" if self.device.type == "cuda" else torch.float32
        with generator.local() as folder:
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
        self.model = model.to(self.device).eval()
        tokens = torch.from_numpy(self.prompts.items.tokens.astype(np.int64)).to(self.device)
        self.vectors = model.get_output_embeddings().weight[tokens].detach()
        self.question = self.prompts.next_item(np.empty(0, np.int32))
        self.length = min(len(self.question) + self.prompts.history, self.prompts.context)

    def __call__(self, batch: pa.Table) -> pa.Table:
        taken = [
            np.asarray(items[:end], np.int64)
            for items, end in zip(batch["items"].to_pylist(), batch["train_end"].to_pylist(), strict=True)
        ]
        likely = self._likely(taken)
        hard = [
            self._drawn(user, items) for user, items in zip(batch["user"].to_pylist(), likely, strict=True)
        ]
        return batch.append_column("hard", pa.array(hard, pa.list_(pa.int32())))

    def _likely(self, taken: list[np.ndarray]) -> list[np.ndarray]:
        """For each user, the likeliest items after each of its steps 1..T: int [T, k]; -1 if there are too few."""
        n_items = len(self.prompts.items)
        found = [np.full((len(items), min(LIKELIEST, n_items)), -1) for items in taken]
        budget = self.length - len(self.question) + 1  # the last target of a window is not read
        asked: list[tuple[int, Window]] = []
        for place, items in enumerate(taken):
            # One step more than the items: the step after the training history.
            every = windows(np.ones(len(items) + 1, np.int64), self.prompts.history, budget)
            asked += [(place, window) for window in every]
        for start in range(0, len(asked), ROWS):
            rows = asked[start : start + ROWS]
            ids = np.zeros(
                (ROWS, self.length), np.int64
            )  # attention is causal: padding on the right is never seen
            for row, (place, window) in enumerate(rows):
                read = taken[place][window.start : window.end - 1]
                sequence = np.concatenate([self.question, self.prompts.items.tokens[read]])
                ids[row, : len(sequence)] = sequence
            for (place, window), best in zip(
                rows, self._best(ids, [taken[place] for place, _ in rows]), strict=True
            ):
                before = len(self.question) - 1 - window.start
                found[place][window.first - 1 : window.end - 1] = best[
                    before + window.first : before + window.end
                ]
        return found

    @torch.inference_mode()
    def _best(self, ids: np.ndarray, taken: list[np.ndarray]) -> list[np.ndarray]:
        """The likeliest items not in `taken`, at every position of the first len(taken) rows: int [length, k] each."""
        states = self.model.base_model(
            torch.from_numpy(ids).to(self.device), use_cache=False
        ).last_hidden_state
        best = []
        for row, items in enumerate(taken):
            logits = (states[row] @ self.vectors.T).float()  # one row at a time: a catalogue may be large
            logits[:, torch.from_numpy(items).to(self.device)] = -torch.inf
            top = logits.topk(min(LIKELIEST, len(self.vectors)), dim=1)
            best.append(torch.where(torch.isfinite(top.values), top.indices, -1).cpu().numpy())
        return best

    def _drawn(self, user: int, likely: np.ndarray) -> np.ndarray:
        """`count` items drawn at random from each step's likely items, flat."""
        lots = np.random.default_rng((self.seed, user)).random(likely.shape)
        order = np.where(likely >= 0, lots, np.inf).argsort(axis=1)[:, : self.count]
        drawn = np.full((len(likely), self.count), -1, np.int32)
        drawn[:, : order.shape[1]] = np.take_along_axis(likely, order, axis=1)
        return drawn.ravel()
