"""If a worker is killed, of Ray Train or a Ray task, only the work after its last checkpoint is repeated."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch

from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.bpr import BPRSection as Section
from longtail.recommenders.models.factors import Factors, FactorsLearner
from longtail.recommenders.training.compute import Compute
from longtail.recommenders.training.epoch_checkpoints import Checkpoints
from longtail.recommenders.training.training_loop import Arrays
from longtail.recommenders.training.training_loop import workers as group
from longtail.workspace import Workspace
from tests.recommenders.conftest import clusters

pytestmark = pytest.mark.faults


class Killed(FactorsLearner):
    """The last worker kills itself (SIGKILL) once, in the fourth epoch; the array `marker` names a file that records it."""

    def __init__(self, arrays: Arrays, settings: dict[str, Any], device: torch.device) -> None:
        super().__init__(arrays, settings, device)
        self.marker, self.begun = Path(bytes(arrays["marker"]).decode()), 0

    def epoch(self, rng: np.random.Generator) -> float:
        self.begun += 1
        rank, count = group()
        if rank == count - 1 and self.begun == 4 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().epoch(rng)


class KilledBPR(Factors):
    learner = Killed
    marker: Path

    def loop_arrays(self, train: Interactions) -> Arrays:
        return {"marker": np.frombuffer(str(self.marker).encode(), np.uint8)}


def fitted(model: Factors) -> Factors:
    return model.fit(clusters())


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_killed_worker_costs_no_result(ray_here: None, tmp_path: Path, n_workers: int) -> None:
    section = Section(dim=6, epochs=6, lr=0.01, batch=50, validate_every=0)
    whole = Factors("bpr", section, seed=3).fit(clusters())
    marker, said = tmp_path / "killed", tmp_path / "said"
    checkpoints = Checkpoints(Workspace(str(tmp_path)) / "kept", seconds=0)

    def say(line: str) -> None:
        with said.open("a") as file:
            file.write(line + "\n")

    workers = n_workers if n_workers > 1 else 0  # as the train stage does
    model = KilledBPR("bpr", section, 3, Compute(workers=workers, checkpoints=checkpoints, say=say))
    model.marker = marker
    model = ray.get(ray.remote(num_cpus=0 if workers else 1)(fitted).remote(model))
    assert marker.exists(), "the worker was killed"
    assert "goes on after epoch 3 of 6" in said.read_text()
    np.testing.assert_allclose(model.items, whole.items, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(model.curve["loss"], whole.curve["loss"], rtol=1e-5)
