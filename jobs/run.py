"""The whole way, from raw logs to the report; a stage that is up to date is skipped.

python -m jobs.run --recipe demo --workspace runs/demo
"""

from longtail.command.execute import stage_command
from longtail.stages import run

if __name__ == "__main__":
    stage_command(run)
