"""Work on workers of Ray Train, whether it tunes an LLM or trains a recommender: it starts again after a fault."""

import logging
import os
import tempfile
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from app.errors import InputError

log = logging.getLogger("longtail")
RESTARTS = 3
"""Work whose worker died, or whose node was lost, is started again this often."""

Order, Answer = TypeVar("Order"), TypeVar("Answer")


def on_workers(work: Callable[[Order], Answer], order: Order, n_workers: int, use_gpu: bool) -> Answer:
    """What the first of n_workers workers, with one process group between them, answers to work(order).

    A worker has a core, and a GPU where use_gpu. work has to go on from its own checkpoints: where a worker or its node is
    lost, all start again. An InputError of work is raised here at once. Needs a joined Ray.
    """
    import ray

    # Ray Train gives a worker 60 s to start, then starts all over; a busy machine needs more.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
    shared = ray.put(order)

    def answer() -> Answer | InputError | None:
        try:
            found = work(ray.get(shared))
        except InputError as error:  # an answer, not a fault: starting again would not help
            return error
        return found if ray.train.get_context().get_world_rank() == 0 else None

    for attempt in range(RESTARTS + 1):
        try:
            found = _fit(answer, n_workers, use_gpu)
            break
        except ray.exceptions.RayActorError:
            # Ray Train starts lost workers again, but not its own controller, which may sit on the node that was lost.
            if attempt == RESTARTS:
                raise
            log.warning("the node that led a training was lost; it is started again")
    if isinstance(found, InputError):
        raise found
    return found


def _fit(answer: Callable[[], Any], n_workers: int, use_gpu: bool) -> Any:
    """One run of Ray Train, under a name of its own: a second one under the same name would do nothing."""
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    resources = {"CPU": 1, "GPU": 1} if use_gpu else {"CPU": 1}
    # What lasts are our own checkpoints and the return value, so Ray Train's folder need not be shared between nodes.
    with tempfile.TemporaryDirectory() as folder:
        result = TorchTrainer(
            answer,
            torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
            scaling_config=ScalingConfig(
                num_workers=n_workers, use_gpu=use_gpu, resources_per_worker=resources
            ),
            run_config=RunConfig(
                name=uuid.uuid4().hex,
                storage_path=folder,
                failure_config=FailureConfig(max_failures=RESTARTS),
            ),
        ).fit()
    return result.return_value
