"""Evaluation: what augmentation did to each recommender, slice by slice, and how sure that is."""

from longtail.evaluation.evaluate_stage import evaluate

__all__ = ["evaluate"]
