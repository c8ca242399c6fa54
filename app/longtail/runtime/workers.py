"""Work on workers of Ray Train, whether it tunes an LLM or trains a recommender: it starts again after a fault."""

import logging
import os
import tempfile
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from longtail.errors import InputError

log = logging.getLogger("longtail")
RESTARTS = 3
"""Work whose worker died, or whose node was lost, is started again this often."""
LOOK_SECONDS = 1.0
"""Ray Train looks so often how its workers are: so soon bad input that one of them met ends the work of all."""

Order, Answer = TypeVar("Order"), TypeVar("Answer")


def on_workers(work: Callable[[Order], Answer], order: Order, n_workers: int, use_gpu: bool) -> Answer:
    """What the first of n_workers workers, with one process group between them, answers to work(order).

    A worker has a core, and a GPU if use_gpu. work has to go on from its own checkpoints: if a worker or its node is
    lost, all start again. What work raises on any worker is raised here, however long the others would wait for that
    one; an InputError at once. Needs a joined Ray.
    """
    import ray
    from ray.train import TrainingFailedError

    # Ray Train gives a worker 60 s to start, then starts all over; a busy machine needs more.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", str(LOOK_SECONDS))
    shared = ray.put(order)

    def answer() -> Answer | None:
        found = work(ray.get(shared))
        return found if ray.train.get_context().get_world_rank() == 0 else None

    for attempt in range(RESTARTS + 1):
        last = attempt == RESTARTS
        try:
            return _fit(answer, n_workers, use_gpu)
        except ray.exceptions.RayActorError:
            # The controller of a training may sit on the node that was lost.
            if last:
                raise
            log.warning("the node that led a training was lost; it is started again")
        except TrainingFailedError as error:
            rank, cause = _cause(error)
            if isinstance(cause, InputError):
                raise cause from None
            if last or not _may_pass(cause):
                cause.add_note(f"This was raised by worker {rank} of {n_workers} of a training.")
                raise cause from error
            said = (str(cause).strip().splitlines() or [type(cause).__name__])[-1]
            log.warning("worker %s of a training was lost (%s); all are started again", rank, said)
    raise AssertionError("the last attempt answers or raises")


def _cause(error: Any) -> tuple[int | None, BaseException]:
    """The rank of the worker that failed, None if it was none of them, and what was raised there.

    If several failed, most did because of one: bad input is told before a fault of the work, that before a lost peer.
    """
    failures = getattr(error, "worker_failures", None)
    if not failures:
        return None, getattr(error, "controller_failure", error)
    known = [(rank, getattr(fault, "_base_exc", fault)) for rank, fault in sorted(failures.items())]
    return min(known, key=lambda one: (not isinstance(one[1], InputError), _may_pass(one[1])))


def _may_pass(fault: BaseException) -> bool:
    """Whether another attempt may do: a worker or its node was lost, which its peers see as a broken connection.

    Torch and Gloo have no class of their own for that, so any RuntimeError may be it.
    """
    from ray.exceptions import RayError
    from ray.train.v2._internal.exceptions import RayTrainError

    return isinstance(fault, RayError | RayTrainError | RuntimeError | ConnectionError)


def _fit(answer: Callable[[], Any], n_workers: int, use_gpu: bool) -> Any:
    """One run of Ray Train, under a name of its own: a second one under the same name would do nothing.

    Ray Train itself starts nothing again after a fault: it would not know which are worth it.
    """
    from ray.train import RunConfig, ScalingConfig
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
            run_config=RunConfig(name=uuid.uuid4().hex, storage_path=folder),
        ).fit()
    return result.return_value
