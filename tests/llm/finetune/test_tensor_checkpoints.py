"""A run that is cut and goes on ends as the uncut one does, with any number of workers, past any corrupt checkpoint."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from longtail.llm.finetune.tensor_checkpoints import Checkpoints, Progress
from longtail.llm.finetune.tuning_loop import Job
from tests.llm.finetune.toys import Cut, cut_run, losses, run, toy_examples, toy_job, weights
from tests.two_workers import two_workers

MOVED = {"batch": 12, "checkpoint_steps": 10}
"""Fourteen steps an epoch, so that no checkpoint is at the end of one; 56 in all."""
DROPOUT = 0.2
Ending = SimpleNamespace
"""curve: losses; validations; weights; first_look: the step of its first look; files: what is left in its folder."""


def ending(job: Job, dropout: float = 0.0) -> Ending:
    looked: list[int] = []
    engine, progress = run(replace(job, look=lambda row: looked.append(row["step"])), dropout)
    files = [file.path.partition("/kept-")[2] for file in job.checkpoints.place.files()]
    return Ending(
        curve=losses(progress),
        validations=progress.validations,
        weights=weights(engine),
        first_look=next(iter(looked), None),  # worker 0 alone looks
        files=files,
    )


def same(found: Ending, uncut: Ending, rtol: float = 1e-5) -> None:
    np.testing.assert_allclose(found.curve, uncut.curve, rtol=rtol)
    np.testing.assert_allclose(found.validations, uncut.validations, rtol=rtol)
    for name, part in uncut.weights.items():
        np.testing.assert_allclose(found.weights[name], part, rtol=1e-3, atol=1e-4, err_msg=name)


def job_of(folder: Path, kept: str, zero: int = 0, **changes) -> Job:
    return toy_job(folder, kept=f"kept-{kept}", zero=zero, **MOVED, **changes)


def copy(folder: Path, kept: str, as_: str) -> None:
    shutil.copytree(folder / f"kept-{kept}", folder / f"kept-{as_}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """With examples, and `kept-alone`: checkpoints after the steps 20 and 30 of one process that was cut after 39."""
    path = tmp_path_factory.mktemp("checkpoints")
    toy_examples(path)
    cut_run(job_of(path, "alone"), 30)
    return path


@pytest.fixture(scope="module")
def uncut(folder) -> Ending:
    return ending(job_of(folder, "uncut"))


def two_worker_runs(folder: Path) -> dict[str, Ending]:
    import torch.distributed as dist

    found = {}
    for zero in (1, 3):
        found[f"uncut {zero}"] = ending(job_of(folder, f"two-{zero}", zero), DROPOUT)
        cut_run(job_of(folder, f"two-cut-{zero}", zero), 30, DROPOUT)
        found[f"gone on {zero}"] = ending(job_of(folder, f"two-cut-{zero}", zero), DROPOUT)
    cut_run(job_of(folder, "three", 3), 30)
    if dist.get_rank() == 0:
        copy(folder, "three", "three-for-one")
        for zero in (0, 1, 3):
            copy(folder, "alone", f"alone-for-{zero}")
    dist.barrier()
    found["three, then one"] = ending(job_of(folder, "three-for-one", 1))
    for zero in (0, 1, 3):
        found[f"alone, then {zero}"] = ending(job_of(folder, f"alone-for-{zero}", zero))
    return found


@pytest.fixture(scope="module")
def together(folder) -> dict[str, Ending]:
    return two_workers(two_worker_runs, folder)


def test_one_process_goes_on_as_if_it_was_never_cut(folder):
    """With dropout: the draws after the cut are those of the uncut run."""
    whole = ending(job_of(folder, "whole", patience=9), DROPOUT)
    cut_run(job_of(folder, "parts", patience=9), 30, DROPOUT)
    found = ending(job_of(folder, "parts", patience=9), DROPOUT)
    assert found.first_look > 30
    same(found, whole, rtol=1e-6)


def test_one_process_survives_a_cut_after_every_checkpoint(folder, uncut):
    for last in (10, 20, 30, 40):
        cut_run(job_of(folder, "often"), last)
    same(ending(job_of(folder, "often")), uncut)


@pytest.mark.parametrize("zero", [1, 3])
def test_two_workers_go_on_as_if_they_were_never_cut(together, zero):
    assert together[f"gone on {zero}"].first_look > 30
    same(together[f"gone on {zero}"], together[f"uncut {zero}"])


@pytest.mark.parametrize("zero", [0, 1, 3])
def test_two_workers_go_on_from_a_checkpoint_of_one_process(together, uncut, zero):
    assert together[f"alone, then {zero}"].first_look > 30
    same(together[f"alone, then {zero}"], uncut)


def test_one_process_goes_on_from_a_checkpoint_of_two_workers_under_zero_3(folder, together, uncut):
    copy(folder, "three", "three-alone")
    found = ending(job_of(folder, "three-alone"))
    assert found.first_look > 30
    same(found, uncut)


def test_zero_1_goes_on_from_a_checkpoint_of_zero_3(together, uncut):
    assert together["three, then one"].first_look > 30
    same(together["three, then one"], uncut)


def test_two_checkpoints_are_kept_of_safetensors_and_json_alone(together, uncut):
    worker = "worker-{}-of-{}.safetensors"
    for name, found in {**together, "one process": uncut}.items():
        workers = 1 if found is uncut else 2
        inside = sorted(["checkpoint.json", *(worker.format(rank, workers) for rank in range(workers))])
        kept = [file.partition("/")[2] for file in found.files]
        assert kept == [f"step-{step:010d}/{file}" for step in (40, 50) for file in inside], name


def test_nothing_else_is_ever_written(folder):
    """Looked at in the middle of a run, with validations and their best weights."""
    seen: set[tuple[int, int]] = set()
    job = job_of(folder, "watched", patience=9)

    def look(row):
        files = job.checkpoints.place.files()
        assert all(file.name.endswith((".safetensors", ".json")) for file in files)
        folders = {file.path.split("/")[-2] for file in files}
        steps = sum(name.startswith("step") for name in folders)
        seen.add((steps, len(folders) - steps))

    run(replace(job, look=look))
    assert {steps for steps, _ in seen} == {0, 1, 2}
    assert {best for _, best in seen} == {0, 1}


@pytest.mark.parametrize("moment", ["before", "in"])
def test_a_cut_at_the_end_of_an_epoch_loses_no_validation(folder, moment):
    """The checkpoint of step 20, the last of an epoch, is there; its validation is in none."""
    changes = {"patience": 9, "epochs": 4, "checkpoint_steps": 10}
    whole = ending(toy_job(folder, kept=f"kept-epochs-{moment}", **changes))
    job = toy_job(folder, kept=f"kept-epochs-{moment}-cut", **changes)

    def look(row):
        if row["step"] == 20 and "valid_loss" in row:
            raise Cut

    with pytest.raises(Cut):
        run(replace(job, look=look))
    if moment == "before":
        # As if the validation had not begun: its best weights are not there.
        (job.checkpoints.place / "best-0000000020").delete()
    found = ending(job)
    assert found.first_look == 20
    assert [step for step, _ in found.validations] == [10, 20, 30, 40]
    same(found, whole)


CUT = "step-0000000030"


def truncated(folder: Path) -> None:
    file = folder / "worker-0-of-1.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def flipped(folder: Path) -> None:
    file = folder / "worker-0-of-1.safetensors"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def missing(folder: Path) -> None:
    (folder / "worker-0-of-1.safetensors").unlink()


def another_number(folder: Path) -> None:
    """Valid JSON that says something else."""
    about = json.loads((folder / "checkpoint.json").read_text())
    about["step"] -= 1
    (folder / "checkpoint.json").write_text(json.dumps(about))


def saying(text: str | bytes) -> Callable[[Path], None]:
    data = text if isinstance(text, bytes) else text.encode()
    return lambda folder: (folder / "checkpoint.json").write_bytes(data) and None


DAMAGES = {
    "truncated": truncated,
    "a flipped bit": flipped,
    "a missing file": missing,
    "another number": another_number,
    "no text": saying(""),
    "no JSON": saying('{"step": 3'),
    "no UTF-8": saying(b"\xff\xfe\x00"),
    "a list": saying("[1, 2]"),
    "other keys": saying('{"files": []}'),
    "a file that is none": saying('{"files": 3}'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_corrupt_checkpoint_is_said_and_the_one_before_it_taken(folder, uncut, damage, caplog):
    kept = f"damaged {damage}"
    copy(folder, "alone", kept)
    DAMAGES[damage](folder / f"kept-{kept}" / CUT)
    found = ending(job_of(folder, kept))
    assert f"{CUT}: corrupt; the checkpoint before it is taken" in caplog.text
    assert found.first_look == 28
    same(found, uncut)


def test_with_no_good_checkpoint_a_run_starts_anew_and_keeps_new_ones(folder, uncut, caplog):
    """What is corrupt never pushes out what is new: a second cut goes on from the first new checkpoint."""
    copy(folder, "alone", "all-damaged")
    for step in ("step-0000000020", CUT):
        flipped(folder / "kept-all-damaged" / step)
    cut_run(job_of(folder, "all-damaged"), 10)
    assert caplog.text.count("corrupt") == 2
    found = ending(job_of(folder, "all-damaged"))
    assert found.first_look == 14
    same(found, uncut)


def test_a_checkpoint_that_was_cut_while_it_was_written_is_none(folder, uncut, caplog):
    copy(folder, "alone", "half-written")
    (folder / "kept-half-written" / CUT / "checkpoint.json").unlink()
    found = ending(job_of(folder, "half-written"))
    assert found.first_look == 28
    assert "corrupt" not in caplog.text
    same(found, uncut)
    assert len({file.split("/")[1] for file in found.files}) == 2


def test_best_weights_that_cannot_be_read_are_said(folder):
    toy_examples(folder / "worse", valid_by=3)
    job = toy_job(folder / "worse", patience=1, epochs=12)

    def look(row):
        for file in job.checkpoints.place.files(".safetensors"):
            file.write_bytes(b"nothing")

    with pytest.raises(RuntimeError, match="the best weights cannot be read; remove .* and tune again"):
        run(replace(job, look=look))


def test_progress_knows_its_best_validation():
    progress = Progress()
    assert (progress.best_step, progress.stale) == (None, 0)
    progress.validations = [(10, 2.0), (20, 1.0), (30, 1.0), (40, 1.5)]
    assert (progress.best_step, progress.stale) == (20, 2)


def test_a_folder_that_is_not_there_holds_no_checkpoint(tmp_path):
    job = toy_job(tmp_path, kept="none", epochs=1)
    assert isinstance(job.checkpoints, Checkpoints)
    job.checkpoints.clear()
    _, progress = run(job)
    assert [row["step"] for row in progress.curve] == list(range(1, 11))
