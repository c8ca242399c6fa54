"""Runs the stage `fuse`: makes the variants of the training set from observed and accepted generated interactions.

python -m jobs.fuse --recipe demo --workspace runs/demo
"""

from longtail.command.execute import stage_command
from longtail.fusion import fuse

if __name__ == "__main__":
    stage_command(fuse)
