"""Tuning examples from histories: next items for the generator, Yes/No for the discriminator; built in Ray Data tasks."""

from functools import partial

import numpy as np
import pyarrow as pa

from app.data import Prepared
from app.data.catalogue import TAIL
from app.llm.prompts import Example, Prompts
from app.recipe import Discriminator, Generator, Tuning
from app.workspace import Place


def write_examples(
    prepared: Prepared, section: Tuning, rendering: str, seed: int, base: Place, target: Place
) -> None:
    """Write the examples of every user's training history as Parquet; base holds the tokenizer."""
    write = partial(
        _examples,
        items=prepared.items,
        base=base,
        rendering=rendering,
        section=section,
        seed=seed,
    )
    prepared.histories().map_batches(write, batch_format="pyarrow", batch_size=512).write_parquet(
        target.make_folder().path, filesystem=target.fs
    )


def _examples(
    batch: pa.Table, *, items: pa.Table, base: Place, rendering: str, section: Tuning, seed: int
) -> pa.Table:
    """Rows of histories -> rows (tokens list<int32>, weights list<float32>)."""
    prompts = Prompts.open(base, items, rendering, section.history)
    slices = np.asarray(items["slice"].to_pylist())
    counts = items["train_count"].to_numpy().astype(np.float64)
    examples: list[Example] = []
    for user, taken, end in zip(
        batch["user"].to_pylist(), batch["items"].to_pylist(), batch["train_end"].to_pylist(), strict=True
    ):
        history = np.asarray(taken[:end], np.int32)
        if isinstance(section, Generator):
            weights = np.where(slices[history] == TAIL, section.tail_weight, 1.0) if end else np.empty(0)
            examples.extend(prompts.next_item_examples(history, weights.astype(np.float32)))
        elif isinstance(section, Discriminator):
            rng = np.random.default_rng((seed, user))
            for step in range(1, end):
                examples.append(prompts.yes_no_example(history[:step], history[step], taken=True))
                for item in _negatives(rng, history, counts, section):
                    examples.append(prompts.yes_no_example(history[:step], item, taken=False))
    return pa.table(
        {
            "tokens": pa.array([example.tokens for example in examples], pa.list_(pa.int32())),
            "weights": pa.array([example.weights for example in examples], pa.list_(pa.float32())),
        }
    )


def _negatives(
    rng: np.random.Generator, taken: np.ndarray, counts: np.ndarray, section: Discriminator
) -> np.ndarray:
    """Items outside the training history. A held-out item may be drawn like any other: leaving it out would tell of it."""
    wanted = section.negatives_per_positive
    shares = counts / counts.sum() if section.negatives == "popular" else None
    drawn = rng.choice(len(counts), size=wanted + 8, p=shares)
    return drawn[~np.isin(drawn, taken)][:wanted]
