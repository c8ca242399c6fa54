"""Runs the stage `evaluate`: ranks the held-out items with every recommender.

python -m jobs.evaluate --recipe demo --workspace runs/demo
"""

from longtail.command.execute import stage_command
from longtail.evaluation import evaluate

if __name__ == "__main__":
    stage_command(evaluate)
