"""Tuning on Ray Train workers: after a fault they restart and continue from the last checkpoint."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from longtail.llm.base_model import export_model, load_model
from longtail.llm.finetune.packing import attend_within_examples
from longtail.llm.finetune.tensor_checkpoints import Checkpoints, Progress
from longtail.llm.finetune.tensorboard import Events
from longtail.llm.finetune.tuning_loop import Figures, Job, tune
from longtail.recipe import Recipe, Role, Tuning
from longtail.runtime.cluster import relay
from longtail.runtime.workers import on_workers
from longtail.workspace.place import Place

CURVE = pa.schema(
    [
        ("step", pa.int64()),
        ("loss", pa.float64()),
        ("lr", pa.float64()),
        ("grad_norm", pa.float64()),
        ("tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("valid_loss", pa.float64()),
    ]
)
"""One row per step. loss: of the step's taught tokens. tokens, seconds: so far, tokens of all workers. valid_loss: after
the step."""


SCALARS = ("loss", "lr", "grad_norm", "valid_loss")


@dataclass(frozen=True)
class Order:
    """One tuning, as it is sent to the workers: the recipe, and the places to read from and to write to.

    base: the folder with the start weights. examples: the folder with `train/` and `validation/`. target: where the
    Hugging Face folder and `curve.parquet` are written. checkpoints and events survive an interrupted run.
    """

    recipe: Recipe
    role: Role
    base: Place
    items: pa.Table
    examples: Place
    target: Place
    checkpoints: Checkpoints
    events: Place

    @property
    def section(self) -> Tuning:
        return getattr(self.recipe, self.role)


def launch(order: Order) -> dict[str, Any]:
    """Tune on `resources.llm_workers` workers; worker 0 writes the result. With 0 epochs one task writes the base as it is.

    Returns the counts {steps, tokens, seconds, best_step, parameters}. Raises InputError if a loss is not finite.
    """
    import ray

    resources = order.recipe.resources
    if not order.section.epochs:
        return ray.get(ray.remote(num_cpus=1)(_as_it_is).remote(order))
    with relay() as tell:
        work = partial(_tuned, tell=tell)
        return on_workers(work, order, resources.llm_workers, resources.accelerator == "gpu")


def _as_it_is(order: Order) -> dict[str, Any]:
    """Write the base into the target. Runs as a Ray task."""
    # A saved model with adapters would have to be merged first, and they would change nothing.
    section = order.section.model_copy(update={"lora": 0, "gradient_checkpointing": False})
    model, tokenizer = _opened(order, section)
    export_model(model, tokenizer, order.target)
    (order.target / "curve.parquet").write_table(CURVE.empty_table())
    parameters = sum(part.numel() for part in model.parameters())
    return {"steps": 0, "tokens": 0, "seconds": 0.0, "best_step": 0, "parameters": parameters}


def _opened(order: Order, section: Tuning) -> tuple[Any, Any]:
    """The model to tune, and its tokenizer."""
    from transformers import AutoTokenizer

    with order.base.local() as folder:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        recipe = order.recipe
        return load_model(
            folder, recipe.llm, section, order.role, order.items, recipe.seed, tokenizer
        ), tokenizer


def _tuned(order: Order, tell: Callable[[str], None]) -> dict[str, Any] | None:
    """What every worker runs. Worker 0 returns the counts, the others return None."""
    import ray.train.torch

    _quiet()
    first = ray.train.get_context().get_world_rank() == 0
    model, tokenizer = _opened(order, order.section)
    parameters = sum(part.numel() for part in model.parameters())
    with Events(order.events) as events:
        job = Job(
            order.role,
            order.section,
            order.examples,
            order.recipe.seed,
            order.checkpoints,
            say=tell,
            look=partial(_note, events) if first else lambda row: None,
        )
        attend_within_examples(model)
        engine, progress = tune(model, job, ray.train.torch.get_device())
    with engine.gathered():
        if not first:
            return None
        export_model(model, tokenizer, order.target)
    (order.target / "curve.parquet").write_table(curve(progress))
    counts = {"steps": progress.step, "tokens": progress.tokens, "seconds": progress.seconds}
    return counts | {"best_step": progress.best_step, "parameters": parameters}


def curve(progress: Progress) -> pa.Table:
    """The table of CURVE, one row per step."""
    valid = dict(progress.validations)
    rows = [row | {"valid_loss": valid.get(row["step"])} for row in progress.curve]
    return pa.Table.from_pylist(rows, CURVE)


def _note(events: Events, row: Figures) -> None:
    events.add(row["step"], **{name: row[name] for name in SCALARS if name in row})


def _quiet() -> None:
    """Log only errors of DeepSpeed, because it logs a page at every start."""
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
