"""What an answer asks for besides the snapshot: the items since it was made, and a live LLM. Others implement it."""

from typing import Protocol

import numpy as np


class LaterItems(Protocol):
    """The events that the endpoint was told since the data of the snapshot were prepared."""

    def of(self, user_id: str) -> list[str]:
        """The ids of the items that this user took since then, oldest first. It is a look-up and never waits."""
        ...


class LiveLLM(Protocol):
    """An LLM that ranks for a history that no list was made from."""

    async def rank(self, history: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """At most k items for a history int32 [n] of item codes, oldest first.

        Returns items int32 [m], best first, each once and none of the history, and their scores float32 [m] in 0..1,
        falling. The caller cancels it at its deadline. Any exception counts as `failed`.
        """
        ...

    async def check(self) -> None:
        """Raise an exception with the reason if it is not ready to rank."""
        ...
