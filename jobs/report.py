"""Ranks, ledger and manifests to report/index.html and report/metrics.json.

python -m jobs.report --recipe jobs/recipes/demo.yaml --workspace runs/demo
"""

from app.evaluation import report
from jobs.command import stage_command

if __name__ == "__main__":
    stage_command(report)
