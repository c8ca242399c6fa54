"""Ranks by the model for requests that no look-up answers: those that wait together in one pass, in a thread."""

import asyncio
from dataclasses import dataclass

from longtail.serving.versions.retriever import Asked, List, Retriever

AT_ONCE = 32
"""The largest number of requests of one pass: a later one waits for the whole pass before it."""


@dataclass(frozen=True)
class _Waiting:
    retriever: Retriever
    asked: Asked
    answer: "asyncio.Future[List]"


class Ranker:
    """One pass runs at a time, so late work cannot pile up. A request that is cancelled before its pass costs nothing.

    It belongs to the event loop of its first call.
    """

    def __init__(self) -> None:
        self._waiting: list[_Waiting] = []
        self._passes: asyncio.Task[None] | None = None

    async def rank(self, retriever: Retriever, asked: Asked) -> List:
        """The list by the model. Raises what the model raises; the others of the same pass get their lists."""
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(retriever, asked, answer))
        if self._passes is None or self._passes.done():
            self._passes = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            due = [one for one in self._waiting[:AT_ONCE] if not one.answer.done()]
            del self._waiting[:AT_ONCE]
            by_retriever: dict[int, list[_Waiting]] = {}
            for one in due:
                by_retriever.setdefault(id(one.retriever), []).append(one)
            for group in by_retriever.values():
                await self._pass(group)

    async def _pass(self, group: list[_Waiting]) -> None:
        try:
            found = await asyncio.to_thread(group[0].retriever.rank, [one.asked for one in group])
        except Exception as error:
            if len(group) > 1:
                for one in group:
                    await self._pass([one])
            elif not group[0].answer.done():
                group[0].answer.set_exception(error)
            return
        for one, ranked in zip(group, found, strict=True):
            if not one.answer.done():
                one.answer.set_result(ranked)
