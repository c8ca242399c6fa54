"""Recommendations from a finished workspace; without Ray and HTTP."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, Field, ValidationError

from longtail.aggregation.artefact import Artefact, read_artefact
from longtail.aggregation.formulas import Union
from longtail.aggregation.fused import Fused, Ranking
from longtail.aggregation.kinds import ALONE, Fusion
from longtail.aggregation.llm_lists import LLMLists
from longtail.errors import InputError
from longtail.recipe import Recipe, Serving
from longtail.recommenders.interactions import Histories
from longtail.registry import recommender_spec
from longtail.schema import NOTHING
from longtail.serving.ids import Ids
from longtail.serving.messages import DEFAULT_K
from longtail.workspace import Workspace

POPULARITY = "popularity"
_NOTHING = np.zeros((1, 0), np.int32), np.zeros((1, 0), np.float32)


class RecommendedItem(BaseModel):
    """One item of the ranking. The score and rank of a list are null if the list does not have the item."""

    item_id: str
    title: str | None
    score: float = Field(
        description="U = alpha * U_LLM + (1 - alpha) * U_Rec. U of a list is minus the rank; if serving.utility is score,"
        " it is the score divided by the largest score of the list."
    )
    recommender_score: float | None = Field(description="The recommender's own score.")
    llm_score: float | None = Field(description="The score in the LLM's list, 0..1.")
    recommender_rank: int | None = Field(description="Place in the recommender's list, from 1.")
    llm_rank: int | None = Field(description="Place in the LLM's list, from 1.")


class Recommendation(BaseModel):
    """Items by descending score; fewer than k if there are not enough candidates."""

    user: str | None = Field(description="The user_id of the request; null for a history.")
    user_known: bool | None = Field(
        description="Whether the workspace has this user; null for a history. An unknown user gets the most"
        " popular items."
    )
    interactions: int = Field(description="N(u): length of the history that the ranking used.")
    alpha: float = Field(description="Weight of the LLM's list; 0 if there is none.")
    llm: Literal["ranking", "none"] = Field(
        description="Whether the LLM ranked items for this user. It did so before serving, from the training items, so never"
        " for a history. Items that the user interacted with later are left out of its list."
    )
    recommender: str = Field(
        description="The recommender that made the candidates; popularity if neither it nor the LLM has any."
    )
    unknown_items: list[str] = Field(
        [], description="Ids of the history that are not in the catalogue; they were ignored."
    )
    items: list[RecommendedItem]


class Health(BaseModel):
    """What is served: the trained recommender, how a list is fused with it (null if none is), and what chose that."""

    status: Literal["ok"] = "ok"
    recommender: str
    variant: str = Field(description="The training set of the recommender.")
    seed_index: int
    list: str | None = Field(description="The strategy whose list is fused in; null: the recommender alone.")
    fusion: dict[str, Any] | None = Field(description="The kind of fusion and its numbers.")
    validation_ndcg: float | None = Field(
        description="NDCG@10 on validation, from the evaluation: with the fusion that validation chose, even if the"
        " recipe names another one."
    )
    chosen_by: Literal["validation", "recipe"] = Field(
        description="recipe: its `serving` names some of these values."
    )
    history: Literal["asked", "masked"] = Field(
        description="How the whole history of a user is used. asked: the recommender ranks from it. masked: the"
        " recommender keeps the user vector of its training; later items are only left out of its ranking."
    )
    users: int
    items: int
    users_with_llm_ranking: int


class BadRequest(Exception):
    """A request that cannot be answered. The message says why."""


@dataclass(frozen=True)
class Ranked:
    """The ranking of one request, as a `Ranking` of one row, and the recommender that made the candidates."""

    ranking: Ranking
    recommender: str


class Recommendations:
    """The recommender, the LLM's lists and the aggregator of one workspace, ready to answer.

    `Fused` makes the ranking, as in the evaluation. Only the history is different: the evaluation uses the training items
    of a user, serving uses the whole history.
    """

    def __init__(self, ws: Workspace, serving: Serving) -> None:
        """Raises InputError if the workspace does not have what is to be served, naming the stage to run."""
        from longtail.recommenders import load

        self.serving, self.chosen = serving, to_serve(ws, serving)
        data = ws.require(self.chosen.data)
        items = (
            (data / "items.parquet").read_table(["item", "item_id", "title", "train_count"]).sort_by("item")
        )
        users = (data / "histories").read_table(["user", "user_id", "items", "train_end"]).sort_by("user")
        self.users, self.items = Ids(users["user_id"]), Ids(items["item_id"])
        self._titles = items["title"].combine_chunks()
        self._by_popularity = np.argsort(-items["train_count"].to_numpy(), kind="stable").astype(np.int32)
        self._train_count = items["train_count"].to_numpy().astype(np.float32)
        self._histories: pa.ListArray = users["items"].combine_chunks()
        self._train_end = users["train_end"].to_numpy()
        self._fused = Fused(
            load(ws.require(self.chosen.fit)),
            _lists(ws, self.chosen, len(self.users)),
            None,
            self.chosen.candidates,
            self.chosen.fusion,
        )

    @property
    def health(self) -> Health:
        chosen = self.chosen
        return Health(
            recommender=chosen.recommender,
            variant=chosen.variant,
            seed_index=chosen.seed_index,
            list=chosen.list,
            fusion=chosen.fusion.told() if chosen.list else None,
            validation_ndcg=chosen.ndcg,
            chosen_by=chosen.chosen_by,
            history="masked" if recommender_spec(self._fused.model.name).keeps_users else "asked",
            users=len(self.users),
            items=len(self.items),
            users_with_llm_ranking=int(np.count_nonzero(self._fused.lists.lengths)),
        )

    @property
    def fusion(self) -> Fusion:
        return self._fused.fusion

    def title(self, item: int) -> str | None:
        return self._titles[item].as_py()

    def sparsity(self, interactions: np.ndarray) -> np.ndarray:
        """1 for the shortest history of the training set, 0 for the longest: float64 [n]."""
        return self._fused.sparsity.of(interactions)

    def user(self, user_id: str) -> int | None:
        """The code of a user; None if the workspace has no such user."""
        return self.users.code(user_id)

    def history(self, item_ids: list[str]) -> tuple[np.ndarray, list[str]]:
        """Codes int32 of the known items, in order, and the unknown ids. Raises BadRequest if all are unknown."""
        codes = [self.items.code(one) for one in item_ids]
        unknown = [one for one, code in zip(item_ids, codes, strict=True) if code is None]
        known = np.array([code for code in codes if code is not None], np.int32)
        if not len(known):
            raise BadRequest("history: the catalogue has none of these items")
        return known, unknown

    def length(self, k: int | None) -> int:
        """How many items to recommend. Raises BadRequest if k is larger than the number of candidates."""
        most = self.serving.candidates
        if k is not None and k > most:
            raise BadRequest(f"k = {k}: at most {most} (serving.candidates of the recipe)")
        return k or min(DEFAULT_K, most)

    def rank_users(self, users: list[int]) -> list[Ranked]:
        """Rank for known users, from their whole histories, in one pass over the model."""
        found = self._asked_whole(np.array(users, np.int64))
        return [self._filled(found.row(row), self._taken(user)) for row, user in enumerate(users)]

    def best(self, users: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """What `rank_users` and `for_user` answer for users int [n], in arrays: items int32 [n, k], best first, -1 where
        there are fewer, and scores float32.
        """
        found = self._asked_whole(users)
        items, scores = (
            np.full((len(users), k), NOTHING, np.int32),
            np.full((len(users), k), -np.inf, np.float32),
        )
        width = min(k, found.columns.shape[1])
        items[:, :width], scores[:, :width] = found.items[:, :width], found.scores[:, :width]
        for row in np.flatnonzero((found.items < 0).all(axis=1)):
            popular = self._popular(self._taken(users[row])).ranking
            width = min(k, popular.columns.shape[1])
            items[row, :width], scores[row, :width] = popular.items[0, :width], popular.scores[0, :width]
        return items, scores

    def _asked_whole(self, users: np.ndarray) -> Ranking:
        """Users int [n], asked with their whole histories."""
        since = [self._taken(user)[self._train_end[user] :] for user in users]
        return self.rank(users, Histories.of(since))

    def rank(self, users: np.ndarray, since: Histories | None = None) -> Ranking:
        """Rank for users int [n] from their training items and their later items `since`; without these as evaluated."""
        return self._fused.ranked(users, self._fused.n_items, since)

    def rank_histories(self, histories: list[np.ndarray]) -> list[Ranked]:
        """The recommender's candidates for ad-hoc histories of item codes, for which there is no LLM ranking."""
        items, scores = self._fused.model.recommend_history(histories, self._fused.candidates)
        rows = zip(items, scores, histories, strict=True)
        return [self._filled(_alone(own, worth, len(asked)), asked) for own, worth, asked in rows]

    def popular(self) -> Ranked:
        """The ranking for a user of whom nothing is known."""
        return self._popular(np.zeros(0, np.int32))

    def for_user(self, user_id: str, ranked: Ranked, k: int, known: bool) -> Recommendation:
        """The k items of highest final utility. The fewer interactions a user has, the more the LLM's list counts."""
        return self._answer(ranked, k, user=user_id, user_known=known)

    def for_history(self, unknown: list[str], ranked: Ranked, k: int) -> Recommendation:
        """The k best items of the recommender."""
        return self._answer(ranked, k, user=None, user_known=None, unknown_items=unknown)

    def _taken(self, user: int) -> np.ndarray:
        return self._histories[user].values.to_numpy()

    def _filled(self, ranking: Ranking, taken: np.ndarray) -> Ranked:
        """The ranking, or the most popular items if it has none."""
        return Ranked(ranking, self._fused.name) if (ranking.items >= 0).any() else self._popular(taken)

    def _popular(self, taken: np.ndarray) -> Ranked:
        popular = self._by_popularity[: self._fused.candidates + len(taken)]
        popular = popular[~np.isin(popular, taken)][: self._fused.candidates]
        return Ranked(_alone(popular, self._train_count[popular], len(taken)), POPULARITY)

    def _answer(self, ranked: Ranked, k: int, **about: object) -> Recommendation:
        ranking, union = ranked.ranking, ranked.ranking.union
        columns = ranking.columns[0, :k]
        alpha = float(ranking.alpha[0])
        return Recommendation(
            interactions=int(ranking.interactions[0]),
            alpha=alpha,
            llm="ranking" if (union.llm_place > 0).any() else "none",
            recommender=ranked.recommender,
            items=[
                RecommendedItem(
                    item_id=self.items[int(union.items[0, column])],
                    title=self._titles[int(union.items[0, column])].as_py(),
                    score=float(ranking.utility[0, column]),
                    recommender_score=_score_of(union.recommender_place, union.recommender_score, column),
                    llm_score=_score_of(union.llm_place, union.llm_score, column),
                    recommender_rank=int(union.recommender_place[0, column]) or None,
                    llm_rank=int(union.llm_place[0, column]) or None,
                )
                for column in columns[union.items[0, columns] >= 0]
            ],
            **about,
        )


def to_serve(ws: Workspace, serving: Serving) -> Artefact:
    """What is served; see `read_artefact`. Raises InputError if it is not there, or not what was fitted."""
    ws.require("data")
    found = read_artefact(ws)
    found.check_named(serving)
    return found


def read_recipe(ws: Workspace) -> Recipe:
    """The resolved recipe that the run saved. Raises InputError if there is no run, or one of another version."""
    saved = ws.saved_recipe()
    if saved is None:
        raise InputError(
            f"{ws}: no recipe.yaml, so there is no run here. Start one: longtail run RECIPE --workspace {ws}."
        )
    try:
        return Recipe.model_validate(saved)
    except ValidationError as error:
        fault = error.errors()[0]
        key = ".".join(map(str, fault["loc"])) or "recipe"
        raise InputError(
            f"{ws}/recipe.yaml: {key}: {fault['msg']}. Run it again: longtail run RECIPE."
        ) from None


def _lists(ws: Workspace, chosen: Artefact, n_users: int) -> LLMLists:
    if chosen.list is None:
        return LLMLists.none(n_users)
    return LLMLists.read(ws.require(chosen.answers) / "rankings", n_users)


def _alone(items: np.ndarray, scores: np.ndarray, asked: int) -> Ranking:
    """The ranking of a recommender without an LLM's list: items int32 [n], scores float32 [n], best first."""
    union = Union.of((items[None], scores[None]), _NOTHING)
    return Ranking.of(union, ALONE, np.zeros(1), len(items), np.array([asked]))


def _score_of(places: np.ndarray, scores: np.ndarray, column: int) -> float | None:
    """The score of a column; None if that list does not have the item."""
    return float(scores[0, column]) if places[0, column] else None
