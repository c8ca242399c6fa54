"""Chooses what is served from the validation figures of a finished workspace.

python -m jobs.fit_aggregator --recipe demo --workspace runs/demo
"""

from longtail.aggregation.artefact import fit_aggregator
from longtail.command.execute import stage_command

if __name__ == "__main__":
    stage_command(fit_aggregator)
