"""Timing of two functions in turns in one process, so that both run under the same conditions."""

import time
from collections.abc import Callable


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def paired(ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 3) -> tuple[float, float]:
    """The least seconds of each over `rounds` turns: the turn that other processes disturbed least."""
    turns = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    return min(ours for ours, _ in turns), min(theirs for _, theirs in turns)
