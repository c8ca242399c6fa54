"""Runs the stage `train`: fits the recommenders on every variant of the training set.

python -m jobs.train --recipe demo --workspace runs/demo
"""

from longtail.command.execute import stage_command
from longtail.recommenders import train

if __name__ == "__main__":
    stage_command(train)
