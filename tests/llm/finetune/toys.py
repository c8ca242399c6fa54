"""A toy language to tune on."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from longtail.llm.finetune.optimizer import Engine
from longtail.llm.finetune.packing import attend_within_examples
from longtail.llm.finetune.tensor_checkpoints import Checkpoints, Progress
from longtail.llm.finetune.tuning_loop import Job, tune
from longtail.recipe import Tuning
from longtail.workspace import Workspace
from longtail.workspace.place import Place

CPU = torch.device("cpu")
WORDS = 40
SETTINGS = Tuning(epochs=4, batch=16, lr=1e-2, micro_tokens=10_000, patience=0, zero=0)


ROWS = pa.schema(
    [("user", pa.int32()), ("task", pa.string()),
     ("tokens", pa.list_(pa.int32())), ("weights", pa.list_(pa.float32()))]
)  # fmt: skip


def toy_model(dropout: float = 0.0, seed: int = 0) -> nn.Module:
    """A Llama with grouped heads; attention drops out `dropout`."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=WORDS, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True, attention_dropout=dropout,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    attend_within_examples(model)
    return model


def toy_rows(rows: int, seed: int, by: int = 2) -> list[dict[str, Any]]:
    """Counting upwards by `by` from a random word, 3 to 20 words long; a third of the words is not taught."""
    rng = np.random.default_rng(seed)
    found = []
    for user in range(rows):
        length = int(rng.integers(3, 21))
        tokens = (rng.integers(WORDS) + by * np.arange(length)) % WORDS
        weights = rng.choice([0.0, 1.0, 4.0], length).astype(np.float32)
        weights[-1] = 1.0
        found.append({"user": user, "task": "next_item", "tokens": tokens, "weights": weights})
    return found


def toy_examples(folder: Path, rows: int = 160, shards: int = 3, valid_by: int = 2) -> Place:
    """Example files as `longtail.llm.examples` writes them. What a model learns is wrong of other `valid_by` than 2."""
    place = Workspace(str(folder)) / "examples"
    for part, some in (("train", toy_rows(rows, 1)), ("validation", toy_rows(30, 2, valid_by))):
        write_shards(place / part, [some[shard::shards] for shard in range(shards)])
    return place


def write_shards(place: Place, shards: list[list[dict[str, Any]]]) -> None:
    for number, rows in enumerate(shards):
        (place / f"{number:05d}.parquet").write_table(pa.Table.from_pylist(rows, ROWS))


def toy_job(folder: Path, settings: Tuning = SETTINGS, kept: str = "kept", **changes: Any) -> Job:
    examples = Workspace(str(folder)) / "examples"
    if not examples.exists():
        toy_examples(folder)
    return Job("toy", settings.model_copy(update=changes), examples, 7, Checkpoints(examples / ".." / kept))


def run(job: Job, dropout: float = 0.0, model: nn.Module | None = None) -> tuple[Engine, Progress]:
    return tune(model or toy_model(dropout), job, CPU)


class Cut(Exception):
    """What ends a run in the middle."""


@dataclass(frozen=True)
class CutOff(Checkpoints):
    """Checkpoints of a run that dies on all its workers where the first checkpoint after step `last` is due."""

    last: int = 0

    def save(self, engine: Engine, progress: Progress) -> None:
        if progress.step > self.last:
            raise Cut
        super().save(engine, progress)


def cut_run(job: Job, last: int, dropout: float = 0.0) -> None:
    """Run until after step `last`, to which the last checkpoint belongs, and die."""
    try:
        run(replace(job, checkpoints=CutOff(job.checkpoints.place, last)), dropout)
    except Cut:
        return
    raise AssertionError("the run ended before it was cut")


def losses(progress: Progress) -> np.ndarray:
    return np.array([row["loss"] for row in progress.curve])


def weights(engine: Engine) -> dict[str, np.ndarray]:
    return {name: engine.whole(name, "weight").numpy().copy() for name in engine.trained}
