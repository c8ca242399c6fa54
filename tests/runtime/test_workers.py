"""Work on Ray Train's workers: what any of them raises is told at once. That lost workers start again: tests/stack/."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from longtail.errors import InputError, bad_input
from longtail.llm.finetune.tuning_loop import Job, tune
from longtail.recommenders.models.bpr import BPRSection as Section
from longtail.recommenders.models.factors import Factors, FactorsLearner
from longtail.recommenders.training.compute import Compute
from longtail.recommenders.training.training_loop import workers
from longtail.runtime.workers import on_workers
from tests.llm.finetune.toys import toy_job, toy_model
from tests.recommenders.conftest import clusters

pytestmark = pytest.mark.usefixtures("ray_here")
ADVICE = "lr = 1e9: the loss is not finite; lower it"


def _rank(folder: Path) -> int:
    import ray.train

    rank = ray.train.get_context().get_world_rank()
    with (folder / str(rank)).open("a") as file:
        file.write("started\n")
    return rank


def _collective() -> None:
    """Wait for the other workers, for ever if one of them never comes."""
    import torch
    import torch.distributed as dist

    dist.all_reduce(torch.ones(1))


def _raised(fault: Exception, rank: int) -> Callable[[Path], str]:
    """Work that one worker ends by a fault while the others wait for it."""

    def work(folder: Path) -> str:
        if _rank(folder) == rank:
            raise fault
        _collective()
        return "done"

    return work


def starts(folder: Path) -> list[int]:
    return [len(file.read_text().splitlines()) for file in sorted(folder.iterdir())]


@pytest.mark.faults
def test_bad_input_that_all_meet_ends_the_work_and_is_not_tried_again(tmp_path: Path) -> None:
    def complain(folder: Path) -> None:
        _rank(folder)
        raise InputError(ADVICE)

    with pytest.raises(InputError, match=f"^{ADVICE}$"):
        on_workers(complain, tmp_path, n_workers=2, use_gpu=False)
    assert starts(tmp_path) == [1, 1]


@pytest.mark.faults
def test_a_fault_of_the_work_on_one_worker_ends_it_with_that_fault_and_its_rank(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no such column") as found:
        on_workers(_raised(KeyError("no such column"), 0), tmp_path, n_workers=2, use_gpu=False)
    assert "worker 0 of 2" in found.value.__notes__[0]
    assert starts(tmp_path) == [1, 1]


@pytest.mark.faults
def test_a_worker_that_dies_is_started_again_with_all_others(tmp_path: Path) -> None:
    def work(folder: Path) -> int:
        rank = _rank(folder)
        _collective()  # Both have written that they began.
        if rank == 1 and starts(folder)[rank] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        _collective()
        return rank

    assert on_workers(work, tmp_path, n_workers=2, use_gpu=False) == 0
    assert starts(tmp_path) == [2, 2]


class Complaining(FactorsLearner):
    """The second worker meets bad input in its second epoch, while the first is in the all-reduce of that epoch."""

    begun = 0

    def epoch(self, rng: np.random.Generator) -> float:
        self.begun += 1
        if workers()[0] == 1 and self.begun == 2:
            raise InputError(ADVICE)
        return super().epoch(rng)


class ComplainingBPR(Factors):
    learner = Complaining


def test_bad_input_on_the_second_worker_of_a_recommender_reaches_the_user() -> None:
    section = Section(dim=6, epochs=4, batch=50, validate_every=0)
    with pytest.raises(InputError, match=f"^{ADVICE}$"):
        ComplainingBPR("bpr", section, 3, Compute(workers=2)).fit(clusters())


def test_bad_input_on_the_second_worker_of_an_llm_under_deepspeed_reaches_the_user(tmp_path: Path) -> None:
    job = toy_job(tmp_path, zero=2, batch=12)

    def tuned(job: Job) -> int:
        import torch
        import torch.distributed as dist

        def complain(*inputs: object) -> None:
            raise InputError(ADVICE)

        model = toy_model()
        if dist.get_rank() == 1:
            model.register_forward_pre_hook(complain)
        return tune(model, job, torch.device("cpu"))[1].step

    with pytest.raises(InputError, match=f"^{ADVICE}$"):
        on_workers(tuned, job, n_workers=2, use_gpu=False)


@pytest.mark.parametrize("fault", [InputError(ADVICE), pa.ArrowInvalid("no such column")])
def test_bad_input_in_a_stream_of_data_is_known_as_such_and_nothing_else_is(fault: Exception) -> None:
    import ray.data

    def complain(batch: pa.Table) -> pa.Table:
        raise fault

    with pytest.raises(Exception, match=".") as found:
        ray.data.range(4).map_batches(complain, batch_format="pyarrow").materialize()
    told = bad_input(found.value)
    assert str(told) == ADVICE if isinstance(fault, InputError) else told is None
