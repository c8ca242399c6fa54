"""The resources and callbacks of a fit."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from longtail.recommenders.training.epoch_checkpoints import Checkpoints


@dataclass(frozen=True)
class Compute:
    """The number of Ray Train `workers` (0: this process), whether to use GPUs, and the folder for checkpoints.

    `say` is called with each line about the progress.
    """

    workers: int = 0
    use_gpu: bool = False
    checkpoints: Checkpoints | None = None
    say: Callable[[str], None] = field(default=lambda line: None)
    ranked: Callable[[np.ndarray], None] = field(default=lambda ranks: None)
    """Called in each validation with the rank of each of its targets, see `Validation`."""
    report: Callable[[int, float], None] = field(default=lambda epoch, score: None)
    """Called after each validation with the epoch and its NDCG@10."""
