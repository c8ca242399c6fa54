"""What an earlier fit has chosen for a trained recommender on validation."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """The number of epochs, the epochs after which the learning rate is lowered, and with texts whose vectors cold items get
    (`ColdItems`); None if nothing chose them.
    """

    epochs: int
    lr_drops: Sequence[int] = ()
    cold: str | None = None
