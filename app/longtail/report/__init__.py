"""The report: `metrics.json` for machines, one page for people."""

from longtail.report.report_stage import report

__all__ = ["report"]
