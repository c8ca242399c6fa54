"""LightGCN compared with PyTorch Geometric's, and two workers with one: seconds per step, bytes per step, and losses.

An epoch of ours has the same number of steps as one of PyG, so the ratio for steps is also that for epochs. Start-up is
not counted.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from scipy.sparse import csr_matrix

from jobs.benchmarks.timing import paired
from longtail.errors import InputError
from longtail.recommenders.models.factors import FactorsLearner
from longtail.recommenders.training.sampling import Batch
from longtail.recommenders.training.training_loop import Arrays

GOWALLA = "lightgcn-gowalla"
SHAPE, INTERACTIONS = (29_858, 40_981), 810_128
"""The size of Gowalla's training part (LightGCN, arXiv 2002.02126, table 2)."""
SECTION = {"dim": 64, "layers": 3, "batch": 2048, "lr": 1e-2, "l2": 1e-4, "preference_weight": 1.0, "seed": 1}
ROUNDS = 3


def measure(data: Path | None, quick: bool = False) -> dict[str, float]:
    """Ratios of steps per second, bytes per step, and the difference of losses.

    `lightgcn_over_pyg`: ours over PyG, one core each. `lightgcn_two_over_one`: two workers over one, one core per
    worker. `lightgcn_bytes_per_step`: bytes that a worker sent by its own count; `…_measured`: by the kernel's.
    `lightgcn_loss_difference`: the largest relative difference of a step's loss between two workers and one.
    """
    ratings = _ratings(data, quick)
    return _over_pyg(ratings, steps=2 if quick else 5) | _two_over_one(ratings, steps=5 if quick else 15)


def _ratings(data: Path | None, quick: bool) -> csr_matrix:
    """Gowalla if `data` has it, else random interactions with more of popular items; a twentieth of it if `quick`."""
    if data is not None and (data / GOWALLA).exists() and not quick:
        table = pq.read_table(data / GOWALLA / "train.parquet")
        cells, shape = (table["user"].to_numpy(), table["item"].to_numpy()), SHAPE
    else:
        rng, share = np.random.default_rng(0), 20 if quick else 1
        shape = (SHAPE[0] // share, SHAPE[1] // share)
        users = rng.integers(0, shape[0], INTERACTIONS // share)
        cells = (users, (shape[1] * rng.random(len(users)) ** 2).astype(np.int64))
    ratings = csr_matrix((np.ones(len(cells[0]), np.float32), cells), shape=shape)
    ratings.data[:] = 1
    return ratings


def _inputs(ratings: csr_matrix) -> tuple[Arrays, dict[str, Any]]:
    none = np.zeros(0, np.int64)
    arrays = {
        "indptr": ratings.indptr.astype(np.int64),
        "indices": ratings.indices.astype(np.int64),
        "weights": ratings.data,
        "preference_users": none,
        "preferred": none,
        "rejected": none,
        "confidences": none.astype(np.float32),
    }
    return arrays, SECTION | {"shape": ratings.shape}


class _Steps:
    """A learner that can be run for some steps at a time."""

    def __init__(self, ratings: csr_matrix) -> None:
        self.learner = FactorsLearner(*_inputs(ratings), torch.device("cpu"))
        self.rng = np.random.default_rng(0)
        self.batches = self._forever()
        self.losses: list[float] = []

    def _forever(self) -> Any:
        while True:
            yield from self.learner.batches.epoch(self.rng)

    def run(self, steps: int) -> None:
        for _ in range(steps):
            batch: Batch = next(self.batches)
            self.losses.append(self.learner.learn(batch, self.rng).item() / batch.divisor)
            self.learner.adam.step()


def _over_pyg(ratings: csr_matrix, steps: int) -> dict[str, float]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours, theirs = _Steps(ratings), _pyg(ratings)
        ours.run(2)
        theirs()
        own, other = paired(lambda: ours.run(steps), theirs, rounds=ROUNDS)
    finally:
        torch.set_num_threads(threads)
    return {"lightgcn_over_pyg": other * steps / own}


def _pyg(ratings: csr_matrix) -> Callable[[], None]:
    """One step of PyG's model as in its documentation: edges in both directions, ranks, recommendation_loss, Adam."""
    from torch_geometric.nn.models import LightGCN

    n_users, n_nodes = ratings.shape[0], sum(ratings.shape)
    users, items = (torch.from_numpy(part.astype(np.int64)) for part in ratings.nonzero())
    edges = torch.stack([users, items + n_users])
    both = torch.cat([edges, edges.flip(0)], dim=1)
    model = LightGCN(n_nodes, SECTION["dim"], SECTION["layers"])
    adam = torch.optim.Adam(model.parameters(), lr=SECTION["lr"])

    def step() -> None:
        chosen = edges[:, torch.randint(edges.shape[1], (SECTION["batch"],))]
        negatives = torch.stack([chosen[0], torch.randint(n_users, n_nodes, (SECTION["batch"],))])
        labels = torch.cat([chosen, negatives], dim=1)
        adam.zero_grad()
        positive, negative = model(both, labels).chunk(2)
        loss = model.recommendation_loss(positive, negative, labels.unique(), SECTION["l2"])
        loss.backward()
        adam.step()

    return step


def _two_over_one(ratings: csr_matrix, steps: int) -> dict[str, float]:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise InputError(
            "two workers need two cores, this process has one: run the benchmark on a larger machine."
        )
    context = mp.get_context("spawn")
    barrier, answers = context.Barrier(2), context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(_worker, (ratings, steps, cores, folder, barrier, answers), nprocs=2)
    return answers.get()


def _worker(
    rank: int, ratings: csr_matrix, steps: int, cores: list[int], folder: str, barrier: Any, answers: Any
) -> None:
    """In each turn, first both workers together, then worker 0 alone. Each worker has its own core."""
    os.sched_setaffinity(0, {cores[rank]})
    torch.set_num_threads(1)
    alone = _Steps(ratings)
    alone.run(2)
    together: _Steps | None = None
    seconds: dict[str, list[float]] = {"together": [], "alone": []}
    sent = 0
    for turn in range(ROUNDS):
        dist.init_process_group("gloo", f"file://{folder}/{turn}", rank=rank, world_size=2)
        if together is None:
            together = _Steps(ratings)
            together.run(2)
        dist.barrier()
        before = _written()
        seconds["together"].append(_timed(together, steps))
        sent += _written() - before
        dist.barrier()
        dist.destroy_process_group()
        if rank == 0:
            seconds["alone"].append(_timed(alone, steps))
        barrier.wait()
    if rank == 0:
        ours, theirs = np.array(together.losses), np.array(alone.losses)
        answers.put(
            {
                "lightgcn_two_over_one": min(seconds["alone"]) / min(seconds["together"]),
                "lightgcn_bytes_per_step": 4 * together.learner.exchanged / len(together.losses),
                "lightgcn_bytes_per_step_measured": sent / (ROUNDS * steps),
                "lightgcn_loss_difference": float(np.abs(ours / theirs - 1).max()),
            }
        )


def _timed(steps: _Steps, n: int) -> float:
    began = time.perf_counter()
    steps.run(n)
    return time.perf_counter() - began


def _written() -> int:
    """The number of bytes that this process has written, sockets included (proc(5), wchar)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar"))
