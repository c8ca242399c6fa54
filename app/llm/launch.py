"""Tuning on workers of Ray Train: they start again after a fault and go on from the last checkpoint."""

import logging
import os
import tempfile
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from app.cluster import relay
from app.errors import InputError
from app.llm.base import export_model, load_model
from app.llm.events import Events
from app.llm.tuning.checkpoints import Checkpoints, Progress
from app.llm.tuning.loop import Figures, Job, tune
from app.llm.tuning.packing import attend_within_examples
from app.recipe import Recipe, Role, Tuning
from app.workspace import Place

log = logging.getLogger("longtail")
RESTARTS = 3
"""A tuning whose worker died, or whose node was lost, goes on from its checkpoint this often."""

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
"""A row a step. loss is of the step's taught tokens; tokens of all workers and seconds so far; valid_loss after the step."""


SCALARS = ("loss", "lr", "grad_norm", "valid_loss")


@dataclass(frozen=True)
class Order:
    """One tuning, as it is sent to the workers: places to read from and to write to, and what the recipe says.

    base: the folder to start from. examples: `train/` and `validation/`. target: gets the Hugging Face folder and
    `curve.parquet`. checkpoints and events outlive a run that is cut off.
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
    """Tune on `resources.llm_workers` workers; worker 0 writes what comes out.

    Returns the counts {steps, tokens, seconds, parameters}. Raises InputError where a loss was not finite.
    """
    import ray

    # Ray Train gives a worker 60 s to start, then starts all over; a busy machine needs more.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
    for attempt in range(RESTARTS + 1):
        try:
            found = _fit(order, f"{order.target.name}-{attempt}")
            break
        except ray.exceptions.RayActorError:
            # Ray Train starts lost workers again, but not its own controller, which may sit on the node that was lost.
            if attempt == RESTARTS:
                raise
            log.warning("%s: the node that led the tuning was lost; it is started again", order.role)
    if isinstance(found, str):
        raise InputError(found)
    return found


def _fit(order: Order, name: str) -> dict[str, Any] | str:
    """One run of Ray Train, under a name of its own: a second one under the same name would do nothing."""
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    gpu = order.recipe.resources.accelerator == "gpu"
    # What lasts are our own checkpoints and the return value, so Ray Train's folder need not be shared between nodes.
    with tempfile.TemporaryDirectory() as storage, relay() as tell:
        result = TorchTrainer(
            _worker,
            train_loop_config={"order": [ray.put(order)], "tell": tell},
            torch_config=TorchConfig(backend="nccl" if gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=order.recipe.resources.llm_workers,
                use_gpu=gpu,
                resources_per_worker={"CPU": 1} | ({"GPU": 1} if gpu else {}),
            ),
            run_config=RunConfig(
                name=name,
                storage_path=storage,
                failure_config=FailureConfig(max_failures=RESTARTS),
            ),
        ).fit()
    return result.return_value


def _worker(config: dict[str, Any]) -> dict[str, Any] | str | None:
    """What every worker runs; worker 0 answers with counts, all of them with a message where the recipe is at fault."""
    import ray
    import ray.train.torch
    from transformers import AutoTokenizer

    _quiet()
    order: Order = ray.get(config["order"][0])
    first = ray.train.get_context().get_world_rank() == 0
    with order.base.local() as folder:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        model = load_model(
            folder, order.recipe.llm, order.section, order.role, order.items, order.recipe.seed, tokenizer
        )
    parameters = sum(part.numel() for part in model.parameters())
    with Events(order.events) as events:
        job = Job(
            order.role,
            order.section,
            order.examples,
            order.recipe.seed,
            order.checkpoints,
            say=lambda line, figures: config["tell"]((line, figures)),
            look=partial(_note, events) if first else lambda row: None,
        )
        try:
            attend_within_examples(model)
            engine, progress = tune(model, job, ray.train.torch.get_device())
        except InputError as error:  # an answer, not a fault: starting again would not help
            return str(error)
    with engine.gathered():
        if not first:
            return None
        export_model(model, tokenizer, order.target)
    (order.target / "curve.parquet").write_table(curve(progress))
    counts = {"steps": progress.step, "tokens": progress.tokens, "seconds": progress.seconds}
    return counts | {"best_step": progress.best_step, "parameters": parameters}


def curve(progress: Progress) -> pa.Table:
    """Rows of CURVE."""
    valid = dict(progress.validations)
    rows = [row | {"valid_loss": valid.get(row["step"])} for row in progress.curve]
    return pa.Table.from_pylist(rows, CURVE)


def _note(events: Events, row: Figures) -> None:
    events.add(row["step"], **{name: row[name] for name in SCALARS if name in row})


def _quiet() -> None:
    """DeepSpeed tells a page at every start."""
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
