"""Two workers, data-parallel, by columns or split by DeepSpeed, make the weights that one process makes."""

from pathlib import Path

import numpy as np
import pytest

from longtail.recommenders import build
from longtail.recommenders.models.bpr import BPRSection
from longtail.recommenders.models.lightgcn import LightGCNSection
from longtail.recommenders.models.mixgcf import MixGCFSection
from longtail.recommenders.models.neumf import NeuMFSection
from longtail.recommenders.models.sasrec import SASRecSection
from longtail.recommenders.trained_section import TrainedSection
from longtail.recommenders.training.compute import Compute
from longtail.recommenders.training.epoch_checkpoints import Checkpoints
from longtail.recommenders.training.training_loop import Arrays
from longtail.workspace import Workspace
from tests.recommenders.conftest import clusters, with_texts
from tests.recommenders.learners import cold_preferences
from tests.two_workers import two_workers

SASREC = SASRecSection(dim=8, epochs=4, batch=13, dropout=0.0, max_length=6, layers=1, negatives=8)
"""The last batch has 7 users."""
MODELS: dict[str, TrainedSection] = {
    # 5 columns on 2 workers: the odd column out, the sum of partial scores and the gathering are all exercised.
    "lightgcn": LightGCNSection(dim=5, epochs=3, lr=0.01, batch=50),
    "bpr": BPRSection(dim=5, epochs=3, lr=0.01, batch=50, text=True),
    "mixgcf": MixGCFSection(dim=5, epochs=2, lr=0.01, batch=50, negatives=4),
    "neumf": NeuMFSection(dim=4, hidden=[8, 4], epochs=2, lr=0.01, batch=51),
    "sasrec": SASREC,
}
ENGINES = ("ddp", "deepspeed")


def fitted(name: str, section: TrainedSection, compute: Compute | None = None) -> tuple[np.ndarray, Arrays]:
    """The losses and the weights of a fit in this process, which may be one of two workers."""
    train = with_texts(clusters())
    model = build(name, section, 1, compute or Compute()).fit(train, cold_preferences())
    return model.curve["loss"], model.arrays()


def kept(folder: Path) -> Compute:
    return Compute(checkpoints=Checkpoints(Workspace(str(folder)) / "kept", seconds=0))


def many_fits(folder: Path) -> dict[str, tuple[np.ndarray, Arrays]]:
    found = {name: fitted(name, section) for name, section in MODELS.items()}
    for engine in ENGINES:
        section, compute = SASREC.model_copy(update={"engine": engine}), kept(folder / engine)
        fitted("sasrec", section.model_copy(update={"epochs": 2}), compute)
        found[f"sasrec, gone on with {engine}"] = fitted("sasrec", section, compute)
    return found


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[np.ndarray, Arrays]]:
    return two_workers(many_fits, tmp_path_factory.mktemp("together"))


@pytest.mark.parametrize("case", [*MODELS, *(f"sasrec, gone on with {engine}" for engine in ENGINES)])
def test_two_workers_equal_one_process_also_after_a_checkpoint(
    case: str, together: dict[str, tuple[np.ndarray, Arrays]]
) -> None:
    name = case.split(",")[0]
    losses, weights = fitted(name, MODELS[name])
    np.testing.assert_allclose(together[case][0], losses, rtol=1e-4)
    tolerance = {"rtol": 1e-2, "atol": 1e-3} if name == "sasrec" else {"rtol": 1e-3, "atol": 1e-5}
    for key, array in weights.items():
        found = together[case][1][key]
        if key.endswith("inward.bias"):
            # A softmax does not see the keys' bias: its gradient is rounding, of which Adam makes steps.
            array, found = (np.delete(one, np.s_[SASREC.dim : 2 * SASREC.dim]) for one in (array, found))
        np.testing.assert_allclose(found, array, err_msg=key, **tolerance)


def test_ray_trains_workers_leave_a_checkpoint_that_a_single_process_goes_on_from(
    ray_here: None, tmp_path: Path
) -> None:
    place = Checkpoints(Workspace(str(tmp_path)) / "kept", seconds=0)
    shorter, longer = MODELS["lightgcn"], MODELS["lightgcn"].model_copy(update={"epochs": 5})
    whole, _ = fitted("lightgcn", longer)
    started, _ = fitted("lightgcn", shorter, Compute(workers=2, checkpoints=place))
    resumed, _ = fitted("lightgcn", longer, Compute(checkpoints=place))
    assert (len(started), len(resumed)) == (3, 5)
    np.testing.assert_allclose(resumed, whole, rtol=1e-4)
