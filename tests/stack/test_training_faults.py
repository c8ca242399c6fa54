"""If a worker of Ray Train is killed, only the work after its last checkpoint is repeated."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from longtail.recommenders.interactions import Interactions
from longtail.recommenders.models.bpr import BPRSection as Section
from longtail.recommenders.models.factors import Factors, FactorsLearner
from longtail.recommenders.training.compute import Compute
from longtail.recommenders.training.epoch_checkpoints import Checkpoints
from longtail.recommenders.training.training_loop import Arrays, workers
from longtail.workspace import Workspace
from tests.recommenders.conftest import clusters

pytestmark = pytest.mark.faults


class Killed(FactorsLearner):
    """Worker 1 kills itself (SIGKILL) once, in the fourth epoch. The array `marker` names a file that records this."""

    def __init__(self, arrays: Arrays, settings: dict[str, Any], device: torch.device) -> None:
        super().__init__(arrays, settings, device)
        self.marker, self.begun = Path(bytes(arrays["marker"]).decode()), 0

    def epoch(self, rng: np.random.Generator) -> float:
        self.begun += 1
        if workers()[0] == 1 and self.begun == 4 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().epoch(rng)


class KilledBPR(Factors):
    learner = Killed
    marker: Path

    def loop_arrays(self, train: Interactions) -> Arrays:
        return {"marker": np.frombuffer(str(self.marker).encode(), np.uint8)}


def test_a_killed_worker_costs_no_result(ray_here: None, tmp_path: Path) -> None:
    section = Section(dim=6, epochs=6, lr=0.01, batch=50, validate_every=0)
    whole = Factors("bpr", section, seed=3).fit(clusters())
    marker, said = tmp_path / "killed", tmp_path / "said"
    checkpoints = Checkpoints(Workspace(str(tmp_path)) / "kept", seconds=0)

    def say(line: str) -> None:
        with said.open("a") as file:
            file.write(line + "\n")

    model = KilledBPR("bpr", section, 3, Compute(workers=2, checkpoints=checkpoints, say=say))
    model.marker = marker
    model.fit(clusters())
    assert marker.exists(), "the worker was killed"
    assert "goes on after epoch 3 of 6" in said.read_text()
    np.testing.assert_allclose(model.items, whole.items, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(model.curve["loss"], whole.curve["loss"], rtol=1e-5)
