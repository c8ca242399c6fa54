"""Two workers of Ray Train, data-parallel or split by DeepSpeed, make the weights that one process makes."""

from pathlib import Path

import numpy as np
import pytest

from longtail.recommenders import build
from longtail.recommenders.interactions import Preferences
from longtail.recommenders.models.sasrec import SASRecSection as Section
from longtail.recommenders.training.compute import Compute
from longtail.recommenders.training.epoch_checkpoints import Checkpoints
from longtail.workspace import Workspace
from tests.recommenders.conftest import clusters

SECTION = Section(dim=8, epochs=4, batch=13, dropout=0.0, max_length=6, layers=1)


def preferences() -> Preferences:
    users = np.arange(1, 60)
    return Preferences(users, np.full(59, 22), np.full(59, 23), np.ones(59, np.float32))


@pytest.mark.parametrize("engine", ["ddp", "deepspeed"])
def test_two_workers_equal_one_process_and_go_on_from_a_checkpoint(
    engine: str, ray_here: None, tmp_path: Path
) -> None:
    """The last batch has 7 users; checkpoints are whole whatever the engine and the number of workers."""
    alone = build("sasrec", SECTION, seed=1).fit(clusters(), preferences())
    section = SECTION.model_copy(update={"engine": engine})
    checkpoints = Checkpoints(Workspace(str(tmp_path)) / "kept", seconds=0)
    two = Compute(workers=2, checkpoints=checkpoints)
    build("sasrec", section.model_copy(update={"epochs": 2}), 1, two).fit(clusters(), preferences())
    together = build("sasrec", section, 1, two).fit(clusters(), preferences())
    np.testing.assert_allclose(together.curve["loss"], alone.curve["loss"], rtol=1e-4)
    for name, array in alone.arrays().items():
        found = together.arrays()[name]
        if name.endswith("inward.bias"):
            # A softmax does not see the keys' bias: its gradient is rounding, of which Adam makes steps.
            found, array = (np.delete(one, np.s_[SECTION.dim : 2 * SECTION.dim]) for one in (found, array))
        np.testing.assert_allclose(found, array, rtol=1e-2, atol=1e-3, err_msg=name)
