"""From a finished workspace to a recommendation; knows nothing of Ray and HTTP."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from app.errors import InputError
from app.recipe import RANKING, Recipe
from app.recommenders.base import Recommender
from app.serving.aggregation import Trust, Union
from app.serving.ids import Ids
from app.serving.llm_lists import LLMLists
from app.serving.messages import DEFAULT_K, Recommendation, RecommendedItem
from app.workspace import Workspace

POPULARITY = "popularity"
_NOTHING = np.zeros((1, 0), np.int32), np.zeros((1, 0), np.float32)


class UnknownUser(Exception):
    """The workspace has no such user."""


class BadQuestion(Exception):
    """A request that no answer fits; the message says why."""


@dataclass(frozen=True)
class Candidates:
    """The recommender's items for one request, best first: items int32 [n], scores float32 [n], maker."""

    items: np.ndarray
    scores: np.ndarray
    recommender: str


class Recommendations:
    """The recommender, the LLM's lists and the aggregator of one workspace, ready to answer."""

    def __init__(self, recipe: Recipe, ws: Workspace) -> None:
        """Raises InputError where the workspace lacks what is served, naming the stage to run."""
        from app.recommenders import load

        self.name = recipe.serving.recommender
        self.candidates = recipe.serving.candidates
        self._model: Recommender = load(ws.require(served(recipe)))
        data = ws.require("data")
        items = (
            (data / "items.parquet").read_table(["item", "item_id", "title", "train_count"]).sort_by("item")
        )
        users = (data / "histories").read_table(["user", "user_id", "items", "train_end"]).sort_by("user")
        self.users, self.items = Ids(users["user_id"]), Ids(items["item_id"])
        self._titles = items["title"].combine_chunks()
        self._by_popularity = np.argsort(-items["train_count"].to_numpy(), kind="stable").astype(np.int32)
        self._train_count = items["train_count"].to_numpy()
        self._interactions = users["train_end"].to_numpy()
        self._histories = users["items"].combine_chunks()
        self._trust = Trust(
            recipe.serving.alpha_1,
            recipe.serving.alpha_2,
            int(self._interactions.min()),
            int(self._interactions.max()),
        )
        self._utility = recipe.serving.utility
        strategy = listed(recipe)
        if recipe.augmented and strategy in recipe.strategies:
            ws.require(f"augmentation/{strategy}")
        self.llm = LLMLists.read(ws / f"augmentation/{strategy}/rankings", len(self.users))

    def user(self, user_id: str) -> int:
        """The code of a user. Raises UnknownUser."""
        code = self.users.code(user_id)
        if code is None:
            raise UnknownUser(f"no user {user_id!r} here; ask with a history instead")
        return code

    def history(self, item_ids: list[str]) -> tuple[np.ndarray, list[str]]:
        """Codes int32 of the known items, in order, and the unknown ids. BadQuestion where all are."""
        codes = [self.items.code(one) for one in item_ids]
        unknown = [one for one, code in zip(item_ids, codes, strict=True) if code is None]
        known = np.array([code for code in codes if code is not None], np.int32)
        if not len(known):
            raise BadQuestion("history: the catalogue has none of these items")
        return known, unknown

    def length(self, k: int | None) -> int:
        """How many items to answer with. BadQuestion where k is beyond the candidates."""
        if k is not None and k > self.candidates:
            raise BadQuestion(f"k = {k}: at most {self.candidates} (serving.candidates of the recipe)")
        return k or min(DEFAULT_K, self.candidates)

    def rank_users(self, users: list[int]) -> list[Candidates]:
        """The recommender's candidates for known users, in one pass over the model."""
        items, scores = self._model.recommend(np.array(users, np.int64), self.candidates)
        return [self._filled(*row) for row in zip(items, scores, map(self._seen, users), strict=True)]

    def rank_histories(self, histories: list[np.ndarray]) -> list[Candidates]:
        """The same for ad-hoc histories of item codes."""
        items, scores = self._model.recommend_history(histories, self.candidates)
        return [self._filled(*row) for row in zip(items, scores, histories, strict=True)]

    def for_user(self, user: int, candidates: Candidates, k: int) -> Recommendation:
        """The k items of highest final utility; the sparser the user, the more the LLM's list counts."""
        llm = self.llm.of(np.array([user]))
        interactions, ranked = int(self._interactions[user]), llm[0].size > 0
        alpha = float(self._trust.alpha(np.array(interactions))) if ranked else 0.0
        return Recommendation(
            user=self.users[user],
            interactions=interactions,
            alpha=alpha,
            llm="ranking" if ranked else "none",
            recommender=candidates.recommender,
            items=self._ranked(candidates, llm, alpha, k),
        )

    def for_history(
        self, known: np.ndarray, unknown: list[str], candidates: Candidates, k: int
    ) -> Recommendation:
        """The recommender's k best: nobody has asked the LLM about this history, so alpha is 0."""
        return Recommendation(
            user=None,
            interactions=len(known),
            alpha=0.0,
            llm="none",
            recommender=candidates.recommender,
            unknown_items=unknown,
            items=self._ranked(candidates, _NOTHING, 0.0, k),
        )

    def _seen(self, user: int) -> np.ndarray:
        return self._histories[user].values.to_numpy()[: self._interactions[user]]

    def _filled(self, items: np.ndarray, scores: np.ndarray, seen: np.ndarray) -> Candidates:
        """A model that knows none of a user's items has no candidates; the most popular items stand in."""
        found = items >= 0
        if found.any():
            return Candidates(items[found], scores[found], self.name)
        popular = self._by_popularity[: self.candidates + len(seen)]
        popular = popular[~np.isin(popular, seen)][: self.candidates]
        return Candidates(popular, self._train_count[popular], POPULARITY)

    def _ranked(
        self, candidates: Candidates, llm: tuple[np.ndarray, np.ndarray], alpha: float, k: int
    ) -> list[RecommendedItem]:
        """`llm` holds items and scores [1, m]."""
        union = Union.of((candidates.items[None], candidates.scores[None]), llm)
        utility = union.utility(np.array([alpha]), self._utility)
        (best,) = union.best(utility, k)
        return [
            RecommendedItem(
                item_id=self.items[int(union.items[0, column])],
                title=self._titles[int(union.items[0, column])].as_py(),
                score=float(utility[0, column]),
                recommender_score=_where(union.recommender_place, union.recommender_score, column),
                llm_score=_where(union.llm_place, union.llm_score, column),
                recommender_rank=int(union.recommender_place[0, column]) or None,
                llm_rank=int(union.llm_place[0, column]) or None,
            )
            for column in best[union.items[0, best] >= 0]
        ]


def served(recipe: Recipe) -> str:
    """Where the recommender to serve is published. InputError where the recipe does not train it."""
    name, variant = recipe.serving.recommender, recipe.serving.variant
    section: Any = recipe.recommenders.chosen().get(name)
    if section is None:
        known = ", ".join(recipe.recommenders.chosen())
        raise InputError(f"serving.recommender = {name!r}: the recipe trains {known}. Name one of these.")
    variants = section.variants or recipe.variants
    if variant not in variants:
        raise InputError(
            f"serving.variant = {variant!r}: {name} is trained on {', '.join(variants)}. Name one of these."
        )
    return f"recommenders/{variant}/{name}-0"


def listed(recipe: Recipe) -> str:
    """The strategy whose list is fused: one of `ranking` only with the recommender whose items it holds. InputError where
    the recipe names one that it does not have.
    """
    ranked = recipe.strategies.get("ranking")
    stranger = ranked and ranked.recommender != recipe.serving.recommender
    ranking = [name for name in RANKING if name in recipe.strategies and not (name == "ranking" and stranger)]
    wanted = recipe.serving.list
    if wanted and wanted not in ranking:
        raise InputError(
            f"serving.list = {wanted!r}: of the strategies in augment {ranking or 'none'} rank for users. Name one of"
            " these, or none."
        )
    return wanted or [*ranking, *RANKING][0]


def read_recipe(ws: Workspace) -> Recipe:
    """The resolved recipe that the run saved. InputError where there was no run."""
    saved = ws / "recipe.yaml"
    if not saved.exists():
        raise InputError(
            f"{ws}: no recipe.yaml, so no run lies here. Start one: longtail run RECIPE --workspace {ws}."
        )
    return Recipe.model_validate(yaml.safe_load(saved.read_bytes()))


def _where(places: np.ndarray, scores: np.ndarray, column: int) -> float | None:
    """The score of a column, None where that list lacks the item."""
    return float(scores[0, column]) if places[0, column] else None
