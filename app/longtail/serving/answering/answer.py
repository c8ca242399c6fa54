"""The answer to a question, from the recommender's list and the LLM's list."""

import time
import uuid

import numpy as np

from longtail.aggregation.fused import Ranking
from longtail.serving.answering.explaining import explained
from longtail.serving.answering.question import Question
from longtail.serving.messages.answer_messages import Degraded, Recommendation, RecommendedItem, Why
from longtail.serving.messages.request_messages import RecommendRequest
from longtail.serving.versions.retriever import List
from longtail.serving.versions.served_arm import NO_LIST
from longtail.serving.versions.snapshot import Snapshot

POPULARITY = "popularity"


def answered(request: RecommendRequest, here: Snapshot) -> Recommendation:
    """What the endpoint answers without a live LLM, a deadline and later events."""
    began = time.perf_counter()
    question = Question.of(request, here, here.default)
    question.note_not_live()
    own = question.look_up()
    if own is None:
        (own,) = [NO_LIST] if question.of_nobody else question.arm.retriever.rank([question.asked])
    return written(question, here, own, question.llm, began)


def fused(question: Question, here: Snapshot, own: List, llm: List) -> tuple[Ranking, str]:
    """The fused list, and the recommender that made the candidates: POPULARITY if both lists are empty."""
    name = question.arm.retriever.model.name
    asked = question.asked
    if not len(own[0]) and not len(llm[0]):
        banned = np.concatenate([asked.history, asked.banned])
        popular = here.items.most_popular(question.arm.chosen.candidates, banned, asked.allowed)
        own, name = (popular, here.items.train_count[popular]), POPULARITY
    rows = ((part[0][None], part[1][None]) for part in (own, llm))
    return question.arm.fuse(*rows, np.array([len(asked.history)])), name


def written(question: Question, here: Snapshot, own: List, llm: List, began: float) -> Recommendation:
    """The message. began: the value of `time.perf_counter` when the request arrived."""
    arm, request = question.arm, question.request
    ranking, recommender = fused(question, here, own, llm)
    union = ranking.union
    columns = ranking.columns[0]
    columns = columns[union.items[0, columns] >= 0][: request.k]
    items = union.items[0, columns]
    places = [part[0, columns] for part in (union.recommender_place, union.llm_place)]
    parts = [part[0, columns] for part in arm.chosen.fusion.parts(union)]
    why = [None] * len(items)
    if request.explain:
        why = _why(question, here, recommender, items, places[0] > 0)
    rows = zip(
        here.items.ids.take(items),
        here.items.titles_of(items),
        ranking.utility[0, columns].tolist(),
        *(part.tolist() for part in (*places, *parts)),
        why,
        strict=True,
    )
    return Recommendation.model_construct(
        items=[
            RecommendedItem.model_construct(
                item_id=item_id,
                title=title,
                score=score,
                recommender_rank=recommender_rank or None,
                llm_rank=llm_rank or None,
                recommender_utility=_finite(u_rec),
                llm_utility=_finite(u_llm),
                why=reason,
            )
            for item_id, title, score, recommender_rank, llm_rank, u_rec, u_llm, reason in rows
        ],
        user=request.user_id,
        user_known=None if request.user_id is None else question.user is not None,
        interactions=int(ranking.interactions[0]),
        alpha=float(ranking.alpha[0]),
        sparsity=float(arm.sparsity.of(ranking.interactions)[0]),
        recommender=recommender,
        list=arm.chosen.list if len(llm[0]) else None,
        recommendation_id=uuid.uuid4().hex,
        model_version=here.version,
        arm=arm.name,
        took_ms=round(1000 * (time.perf_counter() - began), 3),
        degraded=Degraded(parts=question.missing) if question.missing else None,
    )


def _why(
    question: Question, here: Snapshot, recommender: str, items: np.ndarray, listed: np.ndarray
) -> list[Why]:
    if recommender == POPULARITY:
        return [Why(how="popularity", leans_on=[])] * len(items)
    return explained(question.arm, question.asked, items, listed, here.items)


def _finite(utility: float) -> float | None:
    """None if the list gives the item no utility at all."""
    return utility if np.isfinite(utility) else None
