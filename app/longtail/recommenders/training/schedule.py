"""How long a trained recommender trains if an earlier fit has chosen it on validation."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """The number of epochs, and the epochs after which the learning rate is lowered."""

    epochs: int
    lr_drops: Sequence[int] = ()
