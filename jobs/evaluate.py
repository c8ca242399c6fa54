"""Recommenders to the ranks of the held-out items.

python -m jobs.evaluate --recipe demo --workspace runs/demo
"""

from longtail.command.execute import stage_command
from longtail.evaluation import evaluate

if __name__ == "__main__":
    stage_command(evaluate)
