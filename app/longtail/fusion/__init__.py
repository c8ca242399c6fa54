"""Fusion: observed and generated interactions become the variants of the training set, and their controls."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "fuse":
        from longtail.fusion.fuse_stage import fuse

        return fuse
    raise AttributeError(name)


__all__ = ["fuse"]
