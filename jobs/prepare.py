"""Runs the stage `prepare`: makes histories, items, split and slices from the raw log and the catalogue.

python -m jobs.prepare --recipe demo --workspace runs/demo
"""

from longtail.command.execute import stage_command
from longtail.data import prepare

if __name__ == "__main__":
    stage_command(prepare)
