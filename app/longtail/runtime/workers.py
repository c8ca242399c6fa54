"""Running a function on workers of Ray Train, for LLMs and for recommenders: it is started again after a fault."""

import logging
import os
import tempfile
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

from longtail.errors import InputError

log = logging.getLogger("longtail")
RESTARTS = 3
"""How often the work is started again after a worker died or a node was lost."""
LOOK_SECONDS = 1.0
"""How often Ray Train checks its workers. If one raises InputError, all others end after about this time."""

Order, Answer = TypeVar("Order"), TypeVar("Answer")


def on_workers(work: Callable[[Order], Answer], order: Order, n_workers: int, use_gpu: bool) -> Answer:
    """Run work(order) on n_workers workers in one process group, and return the result of the first worker.

    Each worker has one CPU, and one GPU if use_gpu. If a worker or its node is lost, all workers start again, so `work`
    must continue from its own checkpoints. An exception of any worker is raised here, without waiting for the others;
    an InputError without another attempt. Ray must be connected.
    """
    import ray
    from ray.train import TrainingFailedError

    # By default Ray Train gives workers 60 s to start and then begins again; a busy machine needs more.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", str(LOOK_SECONDS))
    # A process more for every training, which warns of machines that will be taken away. Our checkpoints do not need it.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    shared = ray.put(order)

    def answer() -> Answer | None:
        found = work(ray.get(shared))
        return found if ray.train.get_context().get_world_rank() == 0 else None

    for attempt in range(RESTARTS + 1):
        last = attempt == RESTARTS
        try:
            return _fit(answer, n_workers, use_gpu)
        except ray.exceptions.RayActorError:
            # The controller of the training may have run on the node that was lost.
            if last:
                raise
            log.warning("the node with the controller of a training was lost; the training is started again")
        except TrainingFailedError as error:
            rank, cause = _cause(error)
            if isinstance(cause, InputError):
                raise cause from None
            if last or not _is_worth_retrying(cause):
                cause.add_note(f"This was raised by worker {rank} of {n_workers} of a training.")
                raise cause from error
            said = (str(cause).strip().splitlines() or [type(cause).__name__])[-1]
            log.warning("worker %s of a training was lost (%s); all are started again", rank, said)
    raise AssertionError("the last attempt returns or raises")


def _cause(error: Any) -> tuple[int | None, BaseException]:
    """The rank of the worker that failed and its exception; None as the rank if the controller failed.

    If several workers failed, one usually made the others fail. Bad input is reported first, then a fault of the work,
    then a lost worker.
    """
    failures = getattr(error, "worker_failures", None)
    if not failures:
        return None, getattr(error, "controller_failure", error)
    known = [(rank, getattr(fault, "_base_exc", fault)) for rank, fault in sorted(failures.items())]
    return min(known, key=lambda one: (not isinstance(one[1], InputError), _is_worth_retrying(one[1])))


def _is_worth_retrying(fault: BaseException) -> bool:
    """Whether another attempt may succeed: a worker or its node was lost. The others see that as a broken connection.

    Torch and Gloo have no special exception for that, so every RuntimeError counts.
    """
    from ray.exceptions import RayError
    from ray.train.v2._internal.exceptions import RayTrainError

    return isinstance(fault, RayError | RayTrainError | RuntimeError | ConnectionError)


def _fit(answer: Callable[[], Any], n_workers: int, use_gpu: bool) -> Any:
    """One run of Ray Train, under a new name: a second run under the same name would do nothing.

    Ray Train itself makes no second attempt, because it does not know after which faults one can help.
    """
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    resources = {"CPU": 1, "GPU": 1} if use_gpu else {"CPU": 1}
    # Only our own checkpoints and the return value are kept, so nodes need not share the folder of Ray Train.
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
