"""The augmentation room: ask the LLMs, keep the ledger, judge, fuse."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "augment":
        from app.augment.pipeline import augment

        return augment
    if name == "fuse":
        from app.augment.fusion import fuse

        return fuse
    raise AttributeError(name)


__all__ = ["augment", "fuse"]
