"""Runs all stages, from the raw log to the report. A stage that is up to date is skipped.

python -m jobs.run --recipe demo --workspace runs/demo
"""

from longtail.command.execute import stage_command
from longtail.stages import run

if __name__ == "__main__":
    stage_command(run)
