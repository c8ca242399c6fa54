"""What an answer asks for besides the snapshot: the items since it was made, and a live LLM. Others implement it."""

from typing import Literal, Protocol

import numpy as np


class LaterItems(Protocol):
    """The events that the endpoint was told since the data of the snapshot were prepared."""

    def of(self, user_id: str) -> list[str]:
        """The ids of the items that this user took since then, oldest first. It is a look-up and never waits."""
        ...


class NoList(Exception):
    """There is no live list; the reason is what the `degraded` block of an answer says."""

    def __init__(self, reason: Literal["late", "failed", "not_live"]) -> None:
        super().__init__(reason)
        self.reason = reason


class LiveLLM(Protocol):
    """An LLM that ranks for a history that no list was made from."""

    async def rank(
        self, history: np.ndarray, k: int, made_of: str, left: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """At most k items for a history int32 [n], n > 0, of item codes, oldest first.

        made_of: the fingerprint of the answers that the caller serves, `artefact.made_of[artefact.answers]`: item codes and
        lists of another version never come. left: seconds that the request has left, or less.

        Returns items int32 [m], best first, each once and none of the history, and their scores float32 [m] in 0..1,
        falling. Raises NoList and nothing else; after `left` seconds the reason is `late`.
        """
        ...

    async def check(self) -> None:
        """Raise an exception with the reason if it has never been ready to rank. It takes at most a second."""
        ...
