"""Where a training runs: in this process, or on workers of Ray Train, which start again after a fault."""

import os
import tempfile
import uuid

import torch

from app.errors import InputError
from app.recommenders.training import Fitted, Training, train_loop, workers

RESTARTS = 3
"""A training whose worker died goes on from its checkpoint this often."""


def launch(training: Training, n_workers: int, use_gpu: bool) -> Fitted:
    """Run the loop; raises InputError where the loss did not stay finite."""
    if n_workers == 0:
        return train_loop(training, torch.device("cuda" if use_gpu else "cpu"))
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer, get_device

    # Ray Train gives a worker 60 s to start, then starts all over; a busy machine needs more.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "600")
    shared = ray.put(training)

    def work() -> Fitted | str | None:
        try:
            found = train_loop(ray.get(shared), get_device())
        except InputError as error:  # an answer, not a fault: starting again would not help
            return str(error)
        return found if workers()[0] == 0 else None

    resources = {"CPU": 1, "GPU": 1} if use_gpu else {"CPU": 1}
    # What lasts are our own checkpoints and the return value, so Ray Train's folder need not be shared between nodes.
    with tempfile.TemporaryDirectory() as folder:
        result = TorchTrainer(
            work,
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
    found = result.return_value
    if isinstance(found, str):
        raise InputError(found)
    return found
