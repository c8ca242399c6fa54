"""Recommenders to the ranks of the held-out items.

python -m jobs.evaluate --recipe jobs/recipes/demo.yaml --workspace runs/demo
"""

from app.evaluation import evaluate
from jobs.command import stage_command

if __name__ == "__main__":
    stage_command(evaluate)
