"""Raw logs and catalogue to histories, items, split and slices.

python -m jobs.prepare --recipe demo --workspace runs/demo
"""

from longtail.command.execute import stage_command
from longtail.data import prepare

if __name__ == "__main__":
    stage_command(prepare)
