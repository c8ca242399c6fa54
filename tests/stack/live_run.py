"""A run whose lists come from a real engine, so that a live LLM can make the same ones; and processes of its deployment."""

from contextlib import suppress

import psutil

from longtail.augment import augment
from longtail.data import prepare
from longtail.evaluation import evaluate
from longtail.fusion import fuse
from longtail.recipe import Recipe, dump_recipe
from longtail.recommenders import train
from longtail.workspace import Workspace
from tests.stack.small_llm import write_llm

RECIPE = Recipe.model_validate(
    {
        "name": "live",
        "dataset": {"simulation": {"users": 150, "items": 80, "tastes": 4, "mean_history": 7}},
        "generator": {"context": 128},
        "augment": [{"strategy": "next_item", "proposals": 4}],
        "judge": {"yes_no": 0.0},
        "variants": ["observed", "generated"],
        "recommenders": {"itemcf": {"variants": ["observed"]}},
        "evaluation": {"protocol": "train-only"},
        "serving": {"list": "next_item", "candidates": 20, "live": True, "deadline_ms": 30_000},
    }
)


def finished_run(folder: str) -> Workspace:
    """An LLM without tuning, which still orders items in its own way, has been asked about every user."""
    ws = Workspace(folder, RECIPE.model_dump(mode="json"))
    (ws / "recipe.yaml").write_bytes(dump_recipe(RECIPE).encode())
    prepare(RECIPE, ws)
    write_llm(ws)
    for stage in (augment, fuse, train, evaluate):
        stage(RECIPE, ws)
    return ws


def replicas(deployment: str) -> list[int]:
    """The processes of a deployment of the Ray that this process started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            title = " ".join(process.cmdline())
            if title.startswith("ray::ServeReplica:") and deployment in title:
                found.append(process.pid)
    return found
