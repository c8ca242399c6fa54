"""The whole way, from raw logs to the report; a stage that is up to date is skipped.

python -m jobs.run --recipe jobs/recipes/demo.yaml --workspace runs/demo
"""

from app.augment import augment, fuse
from app.data import prepare
from app.evaluation import evaluate, report
from app.llm import finetune
from app.recipe import Recipe
from app.recommenders import train
from app.workspace import Workspace
from jobs.command import stage_command

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
    for stage in STAGES.values():
        stage(recipe, ws)


if __name__ == "__main__":
    stage_command(run)
