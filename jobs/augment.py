"""Histories and the tuned LLMs to a ledger of answers.

python -m jobs.augment --recipe demo --workspace runs/demo
"""

from longtail.augment import augment
from longtail.command.execute import stage_command

if __name__ == "__main__":
    stage_command(augment)
