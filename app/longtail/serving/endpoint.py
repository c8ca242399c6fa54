"""What the endpoint answers, without HTTP and without Ray: one process, one version at a time."""

import asyncio
import time
import uuid

import numpy as np

from longtail import __version__
from longtail.recipe import Serving
from longtail.serving.arms import Arms
from longtail.serving.events import open_log
from longtail.serving.messages import (
    BatchAnswer,
    Degraded,
    Missing,
    Ready,
    Recommendation,
    RecommendedItem,
    RecommendRequest,
    ServedArm,
    Version,
)
from longtail.serving.recommendation import Ranked, Recommendations
from longtail.workspace import Workspace


class Endpoint:
    """Answers requests; each route calls one method of it."""

    def __init__(self, workspace: str, serving: Serving) -> None:
        ws = Workspace(workspace)
        self.here = Recommendations(ws, serving)
        self.arms = Arms.of_serving(serving)
        self.events = open_log(ws, serving)

    async def recommend(self, request: RecommendRequest) -> Recommendation:
        answer = await asyncio.to_thread(self._answer, request)
        self.events.served(answer)
        return answer

    async def recommend_batch(self, requests: list[RecommendRequest]) -> BatchAnswer:
        return BatchAnswer(answers=[await self.recommend(request) for request in requests])

    def ready(self) -> Ready:
        return Ready(model_version=self.model_version)

    def version(self) -> Version:
        health = self.here.health
        arm = ServedArm(
            arm="default",
            **health.model_dump(
                include={"recommender", "variant", "seed_index", "list", "fusion", "history"}
            ),
        )
        return Version(
            longtail=__version__,
            model_version=self.model_version,
            arms=[arm],
            users=health.users,
            items=health.items,
            users_with_llm_list=health.users_with_llm_ranking,
            attributes=[],
            live_llm=False,
            deadline_ms=0,
        )

    @property
    def model_version(self) -> str:
        return self.here.chosen.version

    def _answer(self, request: RecommendRequest) -> Recommendation:
        began, here, missing = time.perf_counter(), self.here, list[Missing]()
        user = None if request.user_id is None else here.user(request.user_id)
        if request.history is not None:
            codes = [here.items.code(one) for one in request.history]
            unknown = [one for one, code in zip(request.history, codes, strict=True) if code is None]
            known = [code for code in codes if code is not None]
            if unknown:
                left = "the items that the catalogue has" if known else "popular items"
                missing.append(
                    Missing(part="history", reason="unknown_items", stood_in=left, items=unknown[:100])
                )
            ranked = here.rank_histories([known])[0] if known else here.popular()
        elif user is None:
            missing.append(Missing(part="user", reason="unknown_user", stood_in="popular items"))
            ranked = here.popular()
        else:
            ranked = here.rank_users([user])[0]
        return self._written(request, ranked, user, missing, began)

    def _written(
        self,
        request: RecommendRequest,
        ranked: Ranked,
        user: int | None,
        missing: list[Missing],
        began: float,
    ) -> Recommendation:
        here, ranking = self.here, ranked.ranking
        union, alpha = ranking.union, float(ranking.alpha[0])
        rec, llm = (utility[0] for utility in here.fusion.parts(union))
        columns = ranking.columns[0]
        columns = columns[union.items[0, columns] >= 0][: request.k]
        return Recommendation(
            items=[
                RecommendedItem(
                    item_id=here.items[int(union.items[0, column])],
                    title=here.title(int(union.items[0, column])),
                    score=ranking.utility[0, column],
                    recommender_rank=union.recommender_place[0, column] or None,
                    llm_rank=union.llm_place[0, column] or None,
                    recommender_utility=_finite(rec[column]),
                    llm_utility=_finite(llm[column]),
                )
                for column in columns
            ],
            user=request.user_id,
            user_known=None if request.user_id is None else user is not None,
            interactions=int(ranking.interactions[0]),
            alpha=alpha,
            sparsity=here.sparsity(ranking.interactions)[0],
            recommender=ranked.recommender,
            list=here.chosen.list if (union.llm_place > 0).any() else None,
            recommendation_id=uuid.uuid4().hex,
            model_version=self.model_version,
            arm=self.arms.of(request.user_id),
            took_ms=round(1000 * (time.perf_counter() - began), 3),
            degraded=Degraded(parts=missing) if missing else None,
        )


def _finite(utility: float) -> float | None:
    """None if the list gives the item none."""
    return float(utility) if np.isfinite(utility) else None
