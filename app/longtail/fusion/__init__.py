"""Fusion: makes the variants of the training set, and their controls, from observed and generated interactions."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "fuse":
        from longtail.fusion.fuse_stage import fuse

        return fuse
    raise AttributeError(name)


__all__ = ["fuse"]
