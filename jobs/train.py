"""Variants to recommenders.

python -m jobs.train --recipe jobs/recipes/demo.yaml --workspace runs/demo
"""

from app.recommenders import train
from jobs.command import stage_command

if __name__ == "__main__":
    stage_command(train)
