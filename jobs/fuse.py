"""Observed and accepted generated interactions to the variants of the training set.

python -m jobs.fuse --recipe jobs/recipes/demo.yaml --workspace runs/demo
"""

from app.augment import fuse
from jobs.command import stage_command

if __name__ == "__main__":
    stage_command(fuse)
