"""All stages in their order, from raw logs to the report. A stage that is up to date is skipped."""

import logging

from longtail.augment import augment
from longtail.augment.ledger import find_ledger
from longtail.data import prepare
from longtail.evaluation import evaluate
from longtail.fusion import fuse
from longtail.llm.finetune.finetune_stage import finetune
from longtail.progress import FIGURES
from longtail.recipe import Recipe
from longtail.recommenders import train
from longtail.report import report
from longtail.text.embed_stage import embed
from longtail.workspace import Workspace

log = logging.getLogger("longtail")
STAGES = {
    "prepare": prepare,
    "embed": embed,
    "finetune": finetune,
    "augment": augment,
    "fuse": fuse,
    "train": train,
    "evaluate": evaluate,
    "report": report,
}


def run(recipe: Recipe, ws: Workspace) -> None:
    """Run every stage that is not up to date: prepare, embed, finetune, augment, fuse, train, evaluate, report."""
    _run(list(STAGES), recipe, ws)


def measure(recipe: Recipe, ws: Workspace) -> None:
    """Run every stage that is not up to date, except the report."""
    _run([name for name in STAGES if name != "report"], recipe, ws)


def _run(names: list[str], recipe: Recipe, ws: Workspace) -> None:
    if recipe.augmented:
        find_ledger(recipe, ws)  # checked now, because it is first used after hours of tuning
    for number, name in enumerate(names, start=1):
        figures = {"stage": number, "stages": len(names), "about": name}
        log.info("stage %d of %d: %s", number, len(names), name, extra={FIGURES: figures})
        STAGES[name](recipe, ws)
