"""The driver's memory during augmentation: all users pass through the stage up to the engine, a sample also the
engine."""

import json
import sys
import tempfile
from functools import partial

import pyarrow as pa
import ray

from jobs.benchmarks.memory import in_fresh_process, peak_gib
from jobs.benchmarks.random_llama import Shape
from jobs.benchmarks.small_store import recipe_of, write_llms
from longtail.augment.asking import Asking
from longtail.augment.ledger import ids_of, unanswered
from longtail.augment.strategies.next_item import NextItemSection
from longtail.data import Prepared, prepare
from longtail.recipe import Recipe
from longtail.runtime.cluster import connect
from longtail.workspace import Workspace

SIZES = (10**4, 10**6)
QUICK_SIZES = (10**3, 2 * 10**4)
SAMPLE = 512
"""The number of users about whom the engine is asked."""
SHAPE = Shape(hidden=64, layers=2, vocabulary=0, head=32)


def measure(quick: bool = False) -> dict[str, float]:
    """`driver_memory_1m_over_10k`: the peak memory of the driver's process with 10^6 simulated users over that with
    10^4 (20,000 over 1,000 with `quick`). `augment_driver_gib`: the larger one. Data and LLM exist before that process
    starts.
    """
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for users in QUICK_SIZES if quick else SIZES:
            recipe, ws = recipe_of(users), Workspace(f"{folder}/{users}")
            prepare(recipe, ws)
            write_llms(recipe, ws, SHAPE)
            ray.shutdown()  # the process that is measured starts its own
            told = in_fresh_process("jobs.benchmarks.augment_memory", users, f"{folder}/{users}")
            found.append(told["driver_gib"])
    return {"driver_memory_1m_over_10k": found[1] / found[0], "augment_driver_gib": found[1]}


def run(users: int, folder: str) -> dict[str, float]:
    """The number of requests, and the peak memory in GiB of this process, which must do nothing else."""
    recipe, ws = recipe_of(users), Workspace(folder)
    connect(recipe.resources)
    asked = _asked(recipe, ws)
    Asking(recipe, ws, NextItemSection(users=min(users, SAMPLE)), Prepared(ws)).run()
    return {"asked": asked, "driver_gib": peak_gib()}


def _asked(recipe: Recipe, ws: Workspace) -> int:
    """Make all requests, ask the ledger which have no answer, and count these instead of asking the engine."""
    asking = Asking(recipe, ws, recipe.augment[0], Prepared(ws))
    wanted = asking.requests()
    left, count = asking.ledger.left(ids_of(wanted))
    remaining = wanted.map_batches(partial(unanswered, left=[left]), batch_format="pyarrow")
    counted = remaining.map_batches(_counted, batch_format="pyarrow", batch_size=None)
    found = sum(
        batch["rows"][0].as_py() for batch in counted.iter_batches(batch_format="pyarrow", batch_size=None)
    )
    if found != count:
        raise RuntimeError(f"{found} requests reached the engine, but {count} have no answer in the ledger")
    return found


def _counted(batch: pa.Table) -> pa.Table:
    return pa.table({"rows": [len(batch)]})


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), sys.argv[2])))
