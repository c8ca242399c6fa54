"""Augmentation: ask the LLMs, keep the ledger, judge."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "augment":
        from longtail.augment.augment_stage import augment

        return augment
    raise AttributeError(name)


__all__ = ["augment"]
