"""What the endpoint answers, without HTTP and without Ray: one process, one version at a time.

A known user whose history is that of the workspace is answered by look-ups. Other histories ask the model, and the live LLM
if there is one, side by side until the deadline. What is late or fails is left out, and the answer says so.
"""

import asyncio
import logging
import time
from datetime import UTC, datetime

import numpy as np

from longtail import __version__
from longtail.recipe import Serving
from longtail.serving.answering.answer import written
from longtail.serving.answering.explaining import similar_to
from longtail.serving.answering.parts import LiveLLM, NoList
from longtail.serving.answering.question import POPULAR, Question
from longtail.serving.answering.ranker import Ranker
from longtail.serving.arms import Arms
from longtail.serving.events.recorder import EventRecorder
from longtail.serving.messages.answer_messages import (
    BatchAnswer,
    NamedItem,
    Ready,
    Recommendation,
    ServedArm,
    SimilarItem,
    SimilarItems,
    Titles,
    Version,
)
from longtail.serving.messages.problems import Refused
from longtail.serving.messages.request_messages import MAX_TITLES, RecommendRequest
from longtail.serving.versions.retriever import List
from longtail.serving.versions.served_arm import NO_LIST, Arm
from longtail.serving.versions.snapshot import Snapshot
from longtail.serving.versions.version_watch import Versions

log = logging.getLogger("longtail")
RESERVED = 0.002
"""Seconds of a deadline that are kept for fusing and writing the answer."""


class Endpoint:
    """Answers requests; each route calls one method of it."""

    def __init__(
        self,
        versions: Versions[Snapshot],
        serving: Serving,
        events: EventRecorder,
        live: LiveLLM | None = None,
    ) -> None:
        """serving: the deadline, and how users are split into arms. live: None if there is none."""
        self.versions, self.deadline_ms, self.events = versions, serving.deadline_ms, events
        self._live, self._arms, self._ranker = live, Arms.of_serving(serving), Ranker()

    @property
    def snapshot(self) -> Snapshot:
        """That of the served version. A request takes it once."""
        return self.versions.current

    async def recommend(self, request: RecommendRequest) -> Recommendation:
        """Raises Refused if a filter names an attribute that the catalogue lacks."""
        return await self._answer(request, self.snapshot, time.perf_counter())

    async def recommend_batch(self, requests: list[RecommendRequest]) -> BatchAnswer:
        """All from one snapshot. Raises Refused as `recommend`."""
        snapshot, began = self.snapshot, time.perf_counter()

        async def one(place: int, request: RecommendRequest) -> Recommendation:
            await asyncio.sleep(0)  # other requests of this process go on between those of a batch
            try:
                return await self._answer(request, snapshot, began)
            except Refused as refused:
                raise refused.within("requests", place) from None

        answers = await asyncio.gather(*(one(place, request) for place, request in enumerate(requests)))
        return BatchAnswer.model_construct(answers=answers)

    async def similar(self, item_id: str, k: int) -> SimilarItems:
        """At most k items. Raises Refused if the catalogue has no such item."""
        here = self.snapshot
        item = here.items.ids.code(item_id)
        if item is None:
            raise Refused(404, "The catalogue has no such item.")
        model = here.default.retriever.model
        items, scores = await asyncio.to_thread(similar_to, model, item, k)
        named = zip(here.items.ids.take(items), here.items.titles_of(items), scores.tolist(), strict=True)
        return SimilarItems(
            item=NamedItem(item_id=item_id, title=here.items.title(item)),
            recommender=model.name,
            items=[SimilarItem(item_id=one, title=title, similarity=score) for one, title, score in named],
            model_version=here.version,
        )

    def titles(self, prefix: str) -> Titles:
        """The first items whose title begins with this text."""
        items = self.snapshot.items
        found = items.beginning_with(prefix, MAX_TITLES)
        named = zip(items.ids.take(found), items.titles_of(found), strict=True)
        return Titles(items=[NamedItem(item_id=one, title=title) for one, title in named])

    async def ready(self) -> Ready:
        """Raises Refused with 503 if something that is configured is not ready, and names it."""
        if self._live is not None:
            try:
                await self._live.check()
            except Exception as error:
                raise Refused(503, f"The live LLM is not ready: {error}") from None
        return Ready(model_version=self.snapshot.version)

    def version(self) -> Version:
        """What is served, and why something newer is not."""
        here, state = self.snapshot, self.versions.state
        lists = here.default.lists
        return Version(
            longtail=__version__,
            model_version=here.version,
            since=datetime.fromtimestamp(state.since, UTC),
            refused=state.refused,
            arms=[_described(arm) for arm in here.arms.values()],
            users=len(here.users),
            items=len(here.items),
            users_with_llm_list=0 if lists is None else int(np.count_nonzero(lists.lengths)),
            attributes=here.items.names,
            live_llm=self._live is not None,
            deadline_ms=self.deadline_ms,
        )

    async def _answer(self, request: RecommendRequest, here: Snapshot, began: float) -> Recommendation:
        question = Question.of(request, here, here.arms[self._arms.of(request.user_id)], self.events)
        ends = began + min(request.deadline_ms or self.deadline_ms, self.deadline_ms) / 1000 - RESERVED
        own, llm = question.look_up(), question.llm
        if own is None and question.of_nobody:
            own = NO_LIST
        asks_live = question.wants_live and self._live is not None
        if not asks_live:
            question.note_not_live()
        if own is None and asks_live:
            own, llm = await asyncio.gather(
                self._ranked(question, ends), self._ranked_live(question, here, ends)
            )
        elif own is None:
            own = await self._ranked(question, ends)
        elif asks_live:
            llm = await self._ranked_live(question, here, ends)
        if request.explain:  # it counts pairs of users, which takes longer than all the rest
            answer = await asyncio.to_thread(written, question, here, own, llm, began)
        else:
            answer = written(question, here, own, llm, began)
        self.events.served(answer)
        return answer

    async def _ranked(self, question: Question, ends: float) -> List:
        """The list by the model, or what stands in for it."""
        try:
            async with asyncio.timeout(max(ends - time.perf_counter(), 0)):
                return await self._ranker.rank(question.arm.retriever, question.asked)
        except TimeoutError:
            reason = "late"
        except Exception:
            log.exception("%s cannot rank", question.arm.retriever.model.name)
            reason = "failed"
        found = question.looked_up_instead()
        if found is None:
            question.lacks("retriever", reason, f"the LLM's list, or {POPULAR} if there is none")
            return NO_LIST
        question.lacks("retriever", reason, "the recommender's list for the history in the workspace")
        return found

    async def _ranked_live(self, question: Question, here: Snapshot, ends: float) -> List:
        """The list by the live LLM, or what stands in for it."""
        history, k = question.known_to_llm, question.arm.list_length
        made_of = here.sources.made_of[question.arm.chosen.answers]
        left = max(ends - time.perf_counter(), 0)
        try:
            async with asyncio.timeout(left):
                found = await self._live.rank(history, k, made_of, left)
            return question.checked(*found)
        except TimeoutError:
            return question.without_live("late")
        except NoList as none:
            return question.without_live(none.reason)
        except Exception:
            log.exception("the live LLM's answer cannot be used")
            return question.without_live("failed")


def _described(arm: Arm) -> ServedArm:
    chosen = arm.chosen
    return ServedArm(
        arm=arm.name,
        recommender=chosen.recommender,
        variant=chosen.variant,
        seed_index=chosen.seed_index,
        list=chosen.list,
        fusion=chosen.fusion.told() if chosen.list else None,
        history="masked" if arm.keeps_users else "asked",
    )
