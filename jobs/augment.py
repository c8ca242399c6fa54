"""Runs the stage `augment`: asks the tuned LLMs about the histories, and keeps the answers in a ledger.

python -m jobs.augment --recipe demo --workspace runs/demo
"""

from longtail.augment import augment
from longtail.command.execute import stage_command

if __name__ == "__main__":
    stage_command(augment)
