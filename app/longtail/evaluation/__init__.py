"""Evaluation: how augmentation changed each recommender, slice by slice, and how certain each change is."""

from longtail.evaluation.evaluate_stage import evaluate

__all__ = ["evaluate"]
