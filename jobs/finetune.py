"""Histories to a tuned generator and a tuned discriminator.

python -m jobs.finetune --recipe jobs/recipes/demo.yaml --workspace runs/demo
"""

from app.llm import finetune
from jobs.command import stage_command

if __name__ == "__main__":
    stage_command(finetune)
