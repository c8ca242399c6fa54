"""The report: `metrics.json` for programs, and one HTML page for people."""

from longtail.report.report_stage import report

__all__ = ["report"]
