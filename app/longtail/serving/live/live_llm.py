"""The live LLM: a Serve deployment of its own that makes the LLM's list for a history while a request waits.

It is asked about histories for which no list was made before. A list takes one prefill: the likeliest next tokens are
items. It is made as `augment` made the published lists, so both are the same for the same history. Questions that arrive
together go through the engine together. A question that is late leaves before that, so it costs nothing.

If the engine dies, its process ends, and Serve starts another. The same is done if the engine is stuck, or if the lists
that are served were made by another LLM since. Two engines side by side would not fit into the memory of one GPU.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from ray import serve

from longtail.aggregation.artefact import Artefact, read_artefact
from longtail.augment.lists_on_demand import ListsOnDemand
from longtail.augment.strategies.strategy import Spoken
from longtail.errors import InputError
from longtail.recipe import Resources
from longtail.runtime.cluster import worker_environment
from longtail.workspace import Workspace

log = logging.getLogger("longtail")
AT_ONCE = 32
"""Questions of one batch at most. A batch cannot be left any more, so it is kept short."""
BATCHES = 2
"""Batches at a time: while one is read, the engine works on the other."""
WAIT_SECONDS = 0.003
"""How long the first question of a batch waits for others."""
WAITING = 256
"""Questions of one asker that may wait. More are refused at once: they would be late."""
STUCK_SECONDS = 60.0
"""An engine that works on one batch for longer than this is stuck."""

Fault = Literal["late", "failed", "nonsense", "moved_on"]


@dataclass(frozen=True)
class Question:
    """What an asker sends. history int32 [n], n > 0: item codes, oldest first. made_of: the fingerprint of the lists that
    the asker serves. left: seconds until the answer is late. It is a duration because the clocks of two nodes differ.
    """

    history: np.ndarray
    made_of: str
    left: float


@dataclass(frozen=True, eq=False)
class LiveList:
    """Items int32 [n], best first, and scores float32 [n] in 0..1, falling; or, without items, the fault.

    late: its time was over before it was asked. failed: the engine rejected it, or the answer cannot be read. nonsense: the
    LLM named no item that is new in this history, or its probabilities are not numbers. moved_on: this LLM did not make the
    lists that the asker serves.
    """

    items: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    fault: Fault | None = None


LATE, FAILED, NONSENSE, MOVED_ON = (LiveList(fault=one) for one in ("late", "failed", "nonsense", "moved_on"))


class Ranking:
    """An engine that makes lists, and since when it works on them. Several threads may call `rank`."""

    def __init__(self, lists: ListsOnDemand, engine: Callable[[pa.Table], pa.Table]) -> None:
        self.lists, self.engine = lists, engine
        self._since: dict[int, float] = {}

    def rank(self, histories: list[np.ndarray]) -> list[LiveList]:
        """The list of each history. Whatever the LLM answers, it raises nothing."""
        mark = id(histories)
        self._since[mark] = time.monotonic()
        try:
            return self._rank(histories)
        except Exception:
            log.exception("live LLM: the answers to %d questions cannot be read", len(histories))
            return [FAILED] * len(histories)
        finally:
            del self._since[mark]

    @property
    def working(self) -> float:
        """For how many seconds the engine has worked on its oldest batch; 0 if it has none."""
        now = time.monotonic()
        return now - min(list(self._since.values()), default=now)

    def _rank(self, histories: list[np.ndarray]) -> list[LiveList]:
        answered = self.engine(self.lists.requests(histories))
        found = [
            LiveList(items, scores) if len(items) else NONSENSE
            for items, scores in self.lists.lists(answered, len(histories))
        ]
        asked, said = answered["user"].to_numpy(), Spoken.of(answered)
        numberless = np.isnan(said.option_logprobs)
        for row in asked[said.rows.repeat(np.diff(said.option_starts))[numberless]]:
            found[row] = NONSENSE
        for row in asked[answered["error"].is_valid().to_numpy()]:
            found[row] = FAILED
        return found


async def in_time(
    histories: list[np.ndarray], due: list[float], rank: Callable[[list[np.ndarray]], list[LiveList]]
) -> list[LiveList]:
    """`rank` the histories whose time, by `time.monotonic()`, is not over; the others are late. In a thread."""
    now = time.monotonic()
    asked = [place for place, end in enumerate(due) if end > now]
    found = [LATE] * len(due)
    if asked:
        lists = await asyncio.to_thread(rank, [histories[place] for place in asked])
        for place, one in zip(asked, lists, strict=True):
            found[place] = one
    return found


@serve.deployment(
    max_ongoing_requests=AT_ONCE * (BATCHES + 1),
    max_queued_requests=WAITING,
    health_check_period_s=5,
    health_check_timeout_s=30,
)
class LiveLLM:
    """One replica: an engine, and the strategy that made the lists that are served."""

    def __init__(self, workspace: str, resources: Resources) -> None:
        """Raises InputError if the list that is served cannot be made live; see `ListsOnDemand.open`."""
        from longtail.llm.vllm_pool import Engine, engine_arguments

        self.ws = Workspace(workspace)
        artefact = with_list(self.ws)
        lists = ListsOnDemand.open(self.ws, artefact.data, artefact.answers)
        context = lists.strategy.prompts.context + 1
        engine = Engine(lists.llm, engine_arguments(lists.llm, resources, context), lists.strategy.sampling)
        self.ranking, self.made_of = Ranking(lists, engine), lists.made_of
        self.ranking.rank([np.zeros(1, np.int32)])  # the first question takes longer than later ones

    async def rank(self, question: Question) -> LiveList:
        if question.made_of != self.made_of:
            return MOVED_ON
        return await self._rank(question.history, time.monotonic() + question.left)

    @serve.batch(max_batch_size=AT_ONCE, batch_wait_timeout_s=WAIT_SECONDS, max_concurrent_batches=BATCHES)
    async def _rank(self, histories: list[np.ndarray], due: list[float]) -> list[LiveList]:
        return await in_time(histories, due, self.ranking.rank)

    async def version(self) -> str:
        """The fingerprint of the lists that this LLM made."""
        return self.made_of

    async def check_health(self) -> None:
        """Raises RuntimeError if this replica has to be replaced: its engine is stuck, or is not the one that is served."""
        if self.ranking.working > STUCK_SECONDS:
            raise RuntimeError(f"live LLM: a batch has taken more than {STUCK_SECONDS:g} s")
        if await asyncio.to_thread(self._moved_on):
            raise RuntimeError("live LLM: the lists that are served were made again; this engine is replaced")

    def _moved_on(self) -> bool:
        """Whether other lists are served now, and are there. While they cannot be read, this engine stays."""
        try:
            artefact = with_list(self.ws)
            return artefact.made_of[artefact.answers] != self.made_of
        except (InputError, OSError):
            return False


def live_llm(ws: Workspace, resources: Resources) -> Any:
    """The deployment, bound to a workspace, for the ingress. Raises InputError if no list is served."""
    with_list(ws)
    device = {"num_gpus": 1} if resources.accelerator == "gpu" else {"num_cpus": 1}
    options = device | {"runtime_env": {"env_vars": worker_environment(resources)}}
    return LiveLLM.options(ray_actor_options=options).bind(ws.root.uri, resources)


def with_list(ws: Workspace) -> Artefact:
    """What is served. Raises InputError if that is the recommender alone, or cannot be read."""
    found = read_artefact(ws)
    if found.answers is None:
        raise InputError(
            f"serving.live: {ws} serves {found.recommender} without a list of the LLM, so a live LLM has nothing to make."
            " Set serving.live to false, or name a list in serving.list and run longtail fit-aggregator."
        )
    return found
