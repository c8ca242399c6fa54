"""Fits what is served again on the whole log of a finished workspace.

python -m jobs.refit --recipe demo --workspace runs/demo
"""

from longtail.aggregation.refit import refit
from longtail.command.execute import stage_command

if __name__ == "__main__":
    stage_command(refit)
