"""How time and the driver's memory grow with the data: the stages prepare and evaluate over ever larger simulated stores."""

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
"""The same catalogue at every size: time that grows with users x items is then linear in interactions."""
STAGES = {"prepare": "data", "evaluate": "evaluation/observed/popularity-0"}
"""The timed stages and what they publish."""


def measure(quick: bool = False) -> dict[str, float]:
    """Over 10^5 to 10^7 interactions (10^4 to 10^6 where `quick`), each size in a process with a Ray of its own:

    `growth_exponent` is b in seconds ~ interactions^b by least squares over all sizes, of the seconds in the manifests
    of prepare and evaluate, `growth_exponent_largest` the same between the two largest; Ray and its workers have
    started before. `driver_memory_growth` is the peak memory of the driver at the largest size over that at the
    smallest, and `driver_gib` the former.
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
    """Seconds of each timed stage over about so many interactions, how many there were, the driver's peak memory."""
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
