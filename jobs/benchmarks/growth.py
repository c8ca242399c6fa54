"""How time and the driver's memory grow with the data: the stages prepare and evaluate on simulated stores of rising
size."""

import json
import sys
import tempfile

import numpy as np

from jobs.benchmarks.memory import in_fresh_process, peak_gib
from longtail.data import prepare
from longtail.evaluation import evaluate
from longtail.fusion import fuse
from longtail.recipe import Recipe
from longtail.recommenders import train
from longtail.workspace import Workspace

SIZES = (10**5, 10**6, 10**7)
QUICK_SIZES = (10**4, 10**5, 10**6)
MEAN_HISTORY = 12
ITEMS = 5_000
"""The same at every size: time that grows with users x items is then linear in the number of interactions."""
STAGES = {"prepare": "data", "evaluate": "evaluation/observed/popularity-0"}
"""The timed stages and the place that each publishes."""


def measure(quick: bool = False) -> dict[str, float]:
    """Run 10^5 to 10^7 interactions (10^4 to 10^6 with `quick`), each size in its own process with its own Ray.

    `growth_exponent`: b in seconds ~ interactions^b, by least squares over all sizes, with the sum of the seconds in
    the manifests of prepare and evaluate. `growth_exponent_largest`: the same between the two largest sizes. Ray and
    its workers have started before. `driver_memory_growth`: the peak memory of the driver at the largest size over
    that at the smallest. `driver_gib`: the peak memory at the largest size.
    """
    found = [in_fresh_process("jobs.benchmarks.growth", size) for size in (QUICK_SIZES if quick else SIZES)]
    n = np.log([one["interactions"] for one in found])
    seconds = np.log([sum(one[stage] for stage in STAGES) for one in found])
    memory = [one["driver_gib"] for one in found]
    return {
        "growth_exponent": float(np.polyfit(n, seconds, 1)[0]),
        "growth_exponent_largest": float(np.diff(seconds)[-1] / np.diff(n)[-1]),
        "driver_memory_growth": memory[-1] / memory[0],
        "driver_gib": memory[-1],
    }


def run(interactions: int) -> dict[str, float]:
    """The seconds of each timed stage, the exact number of interactions, and the driver's peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        _run_stages(_recipe(1_000), Workspace(f"{folder}/warm"))
        ws = Workspace(f"{folder}/run")
        _run_stages(_recipe(interactions), ws)
        manifests = ws.manifests()
    seconds = {stage: manifests[place]["seconds"] for stage, place in STAGES.items()}
    return {
        **seconds,
        "interactions": manifests["data"]["counts"]["interactions"],
        "driver_gib": peak_gib(),
    }


def _run_stages(recipe: Recipe, ws: Workspace) -> None:
    for stage in (prepare, fuse, train, evaluate):
        stage(recipe, ws)


def _recipe(interactions: int) -> Recipe:
    simulation = {"users": interactions // MEAN_HISTORY, "items": ITEMS, "mean_history": MEAN_HISTORY}
    return Recipe.model_validate(
        {
            "name": "growth",
            "dataset": {"simulation": simulation},
            "variants": ["observed"],
            "recommenders": {"popularity": {}},
        }
    )


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]))))
