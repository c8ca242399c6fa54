"""Histories and the tuned LLMs to a ledger of answers.

python -m jobs.augment --recipe jobs/recipes/demo.yaml --workspace runs/demo
"""

from app.augment import augment
from jobs.command import stage_command

if __name__ == "__main__":
    stage_command(augment)
