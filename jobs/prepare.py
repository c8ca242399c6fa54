"""Raw logs and catalogue to histories, items, split and slices.

python -m jobs.prepare --recipe jobs/recipes/demo.yaml --workspace runs/demo
"""

from app.data import prepare
from jobs.command import stage_command

if __name__ == "__main__":
    stage_command(prepare)
