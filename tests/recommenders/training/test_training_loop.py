"""The shared loop: the best weights are kept, a cut training goes on as if it had not been cut."""

from pathlib import Path

import numpy as np
import pytest

from longtail.recommenders import build
from longtail.recommenders.interactions import Targets
from longtail.recommenders.trained_section import TrainedSection
from longtail.recommenders.training.compute import Compute
from longtail.recommenders.training.epoch_checkpoints import Checkpoint, Checkpoints
from longtail.workspace import Workspace
from tests.recommenders.conftest import SECTIONS, clusters

TRAINED = [name for name, section in SECTIONS.items() if isinstance(section, TrainedSection)]


class Cut(Exception):
    """What ends a training early in these tests."""


def targets() -> Targets:
    """For every user but the first the first generated item, which the observed part does not have."""
    train = clusters()
    users = np.arange(1, 60)
    return Targets(users, train.items[train.indptr[users] + train.observed[users]])


@pytest.mark.parametrize("name", TRAINED)
def test_a_cut_training_reaches_the_weights_of_an_uncut_one(name: str, tmp_path: Path) -> None:
    section = SECTIONS[name].model_copy(update={"epochs": 6, "validate_every": 2, "patience": 9})
    whole = build(name, section, seed=3).fit(clusters(), None, targets())
    checkpoints, said = Checkpoints(Workspace(str(tmp_path)) / "kept", seconds=0), []

    def cut(epoch: int, score: float) -> None:
        if epoch == 4:
            raise Cut

    with pytest.raises(Cut):
        build(name, section, 3, Compute(checkpoints=checkpoints, report=cut)).fit(clusters(), None, targets())
    again = Compute(checkpoints=checkpoints, say=said.append)
    resumed = build(name, section, 3, again).fit(clusters(), None, targets())
    assert any("goes on after epoch 3 of 6" in line for line in said)
    for key, array in whole.arrays().items():
        np.testing.assert_allclose(resumed.arrays()[key], array, rtol=1e-4, atol=1e-6, err_msg=key)
    np.testing.assert_allclose(resumed.curve["loss"], whole.curve["loss"], rtol=1e-5)
    np.testing.assert_array_equal(resumed.curve["ndcg"], whole.curve["ndcg"])


@pytest.mark.parametrize("name", ["bpr", "sasrec"])
def test_training_stops_when_validation_does_and_keeps_the_best(name: str) -> None:
    section = SECTIONS[name].model_copy(
        update={"epochs": 200, "lr": 0.05, "validate_every": 1, "patience": 3, "lr_drops": 0}
    )
    model = build(name, section, seed=2).fit(clusters(), None, targets())
    scores = model.curve["ndcg"]
    best = int(np.nanargmax(scores))
    assert len(scores) == best + 1 + 3 < 200
    assert model.counts["best epoch"] == best + 1
    cut_there = section.model_copy(update={"epochs": best + 1})
    same = build(name, cut_there, seed=2).fit(clusters(), None, targets())
    for key, array in same.arrays().items():
        np.testing.assert_allclose(model.arrays()[key], array, rtol=1e-5, err_msg=key)


def test_the_learning_rate_falls_before_the_training_ends(tmp_path: Path) -> None:
    """As often as asked for, each time with patience again; a checkpoint remembers it."""
    changes = {"epochs": 300, "lr": 0.05, "validate_every": 1, "patience": 3, "lr_drops": 2}
    section = SECTIONS["bpr"].model_copy(update=changes)
    checkpoints = Checkpoints(Workspace(str(tmp_path)) / "kept", seconds=0)
    model = build("bpr", section, 2, Compute(checkpoints=checkpoints)).fit(clusters(), None, targets())
    scores, last = model.curve["ndcg"], checkpoints.latest()
    assert len(last.drops) == 2 and len(scores) < 300
    since = 0
    for drop in last.drops:
        best = int(np.argmax(scores[:drop])) + 1
        assert drop == max(best, since) + 3
        since = drop
    assert len(scores) == max(int(np.argmax(scores)) + 1, since) + 3
    cut = last.drops[0] + 2
    half = Checkpoints(Workspace(str(tmp_path)) / "half", seconds=0)
    for epochs in (cut, 300):
        part = section.model_copy(update={"epochs": epochs})
        again = build("bpr", part, 2, Compute(checkpoints=half)).fit(clusters(), None, targets())
    np.testing.assert_allclose(again.curve["loss"], model.curve["loss"], rtol=1e-4)


def test_without_targets_every_epoch_is_trained() -> None:
    section = SECTIONS["bpr"].model_copy(update={"epochs": 7, "validate_every": 1, "patience": 1})
    model = build("bpr", section).fit(clusters())
    assert model.counts["epochs"] == model.counts["best epoch"] == 7
    assert np.isnan(model.curve["ndcg"]).all()


def test_the_learning_curve_is_saved(tmp_path: Path) -> None:
    place = Workspace(str(tmp_path)) / "model"
    model = build("bpr", SECTIONS["bpr"]).fit(clusters())
    model.save(place)
    curve = (place / "learning_curve.parquet").read_table()
    assert curve.column_names == ["epoch", "loss", "seconds", "ndcg"]
    assert curve["epoch"].to_pylist() == [1, 2, 3, 4, 5]


def test_a_corrupt_checkpoint_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept = Checkpoints(Workspace(str(tmp_path)) / "kept")
    for epoch in (1, 2, 3):
        done = Checkpoint(epoch, {"x": np.full(3, epoch)}, {}, [0.5] * epoch, [0.1] * epoch, [])
        kept.save(done)
    files = kept.place.files(".safetensors")
    assert len(files) == 2, "the two latest are kept"
    files[-1].write_bytes(files[-1].read_bytes()[:-5])
    found = kept.latest()
    assert found.epoch == 2 and found.state["x"].tolist() == [2, 2, 2] and found.losses == [0.5, 0.5]
    files[-2].write_bytes(b"nonsense")
    assert kept.latest() is None
    kept.clear()
    assert Checkpoints(kept.place).latest() is None
