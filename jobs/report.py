"""Runs the stage `report`: makes report/index.html and report/metrics.json from ranks, ledger and manifests.

python -m jobs.report --recipe demo --workspace runs/demo
"""

from longtail.command.execute import stage_command
from longtail.report import report

if __name__ == "__main__":
    stage_command(report)
