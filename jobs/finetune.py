"""Runs the stage `finetune`: tunes a generator and a discriminator on the histories.

python -m jobs.finetune --recipe demo --workspace runs/demo
"""

from longtail.command.execute import stage_command
from longtail.llm.finetune.finetune_stage import finetune

if __name__ == "__main__":
    stage_command(finetune)
