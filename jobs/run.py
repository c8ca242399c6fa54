"""The whole way, from raw logs to the report; a stage that is up to date is skipped.

python -m jobs.run --recipe jobs/recipes/demo.yaml --workspace runs/demo
"""

import logging

from app.augment import augment, fuse
from app.augment.ledger import find_ledger
from app.data import prepare
from app.evaluation import evaluate, report
from app.llm import finetune
from app.progress import FIGURES
from app.recipe import Recipe
from app.recommenders import train
from app.workspace import Workspace
from jobs.command import stage_command

log = logging.getLogger("longtail")
STAGES = {
    "prepare": prepare,
    "finetune": finetune,
    "augment": augment,
    "fuse": fuse,
    "train": train,
    "evaluate": evaluate,
    "report": report,
}


def run(recipe: Recipe, ws: Workspace) -> None:
    """Run every stage that is not up to date: prepare, finetune, augment, fuse, train, evaluate, report."""
    if recipe.augmented:
        find_ledger(recipe, ws)  # it is read after hours of tuning
    for number, (name, stage) in enumerate(STAGES.items(), start=1):
        figures = {"stage": number, "stages": len(STAGES), "about": name}
        log.info("stage %d of %d: %s", number, len(STAGES), name, extra={FIGURES: figures})
        stage(recipe, ws)


if __name__ == "__main__":
    stage_command(run)
