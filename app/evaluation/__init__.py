"""Evaluation: what augmentation did to each recommender, slice by slice, and how sure that is."""

from app.evaluation.evaluate import evaluate
from app.evaluation.report import report

__all__ = ["evaluate", "report"]
