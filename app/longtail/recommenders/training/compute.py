"""What a fit may use."""

from collections.abc import Callable
from dataclasses import dataclass, field

from longtail.recommenders.training.epoch_checkpoints import Checkpoints


@dataclass(frozen=True)
class Compute:
    """`workers` of Ray Train (0: this process), GPUs, a folder for checkpoints, somebody who hears of progress."""

    workers: int = 0
    use_gpu: bool = False
    checkpoints: Checkpoints | None = None
    say: Callable[[str], None] = field(default=lambda line: None)
    report: Callable[[int, float], None] = field(default=lambda epoch, score: None)
    """Hears of every validation: the epoch and its NDCG@10."""
