"""The ingress asks the live LLM within the time that a request has left, and never waits longer."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from prometheus_client import Counter
from ray.serve.exceptions import BackPressureError

from longtail.serving.answering.parts import NoList
from longtail.serving.live.live_llm import FAILED, LATE, LiveList, Question
from longtail.serving.metrics import REGISTRY

log = logging.getLogger("longtail")
IN_A_ROW = 3
"""After so many questions in a row without an answer, the LLM is left alone for a pause."""
PAUSE_SECONDS = 1.0
"""One question per pause finds out whether it answers again. The others do not spend their time on it."""
CHECK_SECONDS = 1.0
BEFORE_CALLER = 0.002
"""Seconds by which a question ends before the time of its request, so that it is known to be late."""

QUESTIONS = Counter(
    "longtail_live_llm_questions",
    "Questions to the live LLM by outcome: answered, late, failed, nonsense, moved_on (it made other lists than are served),"
    " paused (not asked, because it did not answer before).",
    ["outcome"],
    registry=REGISTRY,
)
REASONS = {"late": "late", "failed": "failed", "nonsense": "failed", "moved_on": "not_live"}
"""From the fault of a live list to the reason in an answer."""


class LiveLLMClient:
    """Asks one deployment; see `parts.LiveLLM`."""

    def __init__(self, handle: Any, clock: Callable[[], float] = time.monotonic) -> None:
        """handle: a `DeploymentHandle` of LiveLLM."""
        self._handle, self._clock = handle, clock
        self._was_ready, self._missed, self._resume = False, 0, 0.0

    async def rank(
        self, history: np.ndarray, k: int, made_of: str, left: float
    ) -> tuple[np.ndarray, np.ndarray]:
        if self._paused():
            QUESTIONS.labels("paused").inc()
            raise NoList("failed")
        own, began = left - BEFORE_CALLER, self._clock()
        try:
            found = await self._ask(Question(history, made_of, own)) if own > 0 else LATE
        except asyncio.CancelledError:
            if self._clock() - began >= own:  # a busy event loop ends both times at once
                self._note("late")
            raise
        self._note(found.fault or "answered")
        if found.fault:
            raise NoList(REASONS[found.fault])
        return found.items[:k], found.scores[:k]

    async def check(self) -> None:
        if not self._was_ready:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._handle.version.remote()
            self._was_ready = True

    def _note(self, outcome: str) -> None:
        QUESTIONS.labels(outcome).inc()
        if outcome in ("late", "failed"):
            self._missed, self._resume = self._missed + 1, self._clock() + PAUSE_SECONDS
        else:
            self._missed = 0

    def _paused(self) -> bool:
        """Whether to leave it alone. At the end of a pause one question is asked, and a new pause begins."""
        if self._missed < IN_A_ROW:
            return False
        if self._clock() < self._resume:
            return True
        self._resume = self._clock() + PAUSE_SECONDS
        return False

    async def _ask(self, question: Question) -> LiveList:
        waiting = None
        try:
            async with asyncio.timeout(question.left):
                waiting = self._handle.rank.remote(question)
                return await waiting
        except TimeoutError:
            _take_back(waiting)
            return LATE
        except asyncio.CancelledError:
            _take_back(waiting)
            raise
        except BackPressureError:
            return LATE
        except Exception as error:
            log.warning("live LLM: %s", type(error).__name__)
            return FAILED


def _take_back(waiting: Any) -> None:
    """Cancel a question. If no batch has begun with it, the LLM never sees it."""
    with suppress(Exception):
        if waiting is not None:
            waiting.cancel()
