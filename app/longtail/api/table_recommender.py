"""Recommenders that fit a table of raw ids, without a recipe, Ray or a workspace."""

import inspect
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from longtail.api.interaction_table import read_interactions
from longtail.errors import InputError
from longtail.recipe import RecommenderSection, check_recipe
from longtail.recipe.recommender_section import OF_TRAINING_SETS
from longtail.recommenders import build
from longtail.registry import recommender_spec, recommenders

if TYPE_CHECKING:
    import pandas as pd

    from longtail.api.interaction_table import InteractionTable


class TableRecommender:
    """One recommender, fitted in this process on the CPU.

        swing = longtail.Swing(recency=0.7).fit(interactions)
        swing.recommend("u42", k=10)
        swing.similar("i7", k=10)

    The keywords are the recommender's settings in a recipe. A trained model always passes over the data `epochs` times. It
    cannot stop earlier, because there are no validation items here; a run of a recipe has them (`longtail.run`).
    """

    name: ClassVar[str]
    """The name of the recommender in a recipe."""

    def __init__(self, *, seed: int = 0, **settings: Any) -> None:
        """Raises InputError for a setting that this recommender does not have, or a value out of range."""
        where = f"{type(self).__name__}(…)"
        if wrong := [key for key in OF_TRAINING_SETS if key in settings]:
            raise InputError(
                f"{where}: {wrong[0]} is a setting of a recipe, which is not used here. Leave it out."
            )
        recipe = check_recipe({"name": self.name, "recommenders": {self.name: settings}}, where)
        self.settings: RecommenderSection = recipe.recommenders[self.name]
        self.seed = seed
        self._table: InteractionTable | None = None

    def fit(
        self,
        interactions: Any,
        *,
        user: str | None = None,
        item: str | None = None,
        timestamp: str | None = None,
        weight: str | None = None,
    ) -> Self:
        """Fit a pandas or polars DataFrame or an Arrow Table with one row per interaction.

        `user`, `item`, `timestamp` and `weight` are the names of its columns. Default names: user or user_id, item or
        item_id, timestamp or time (dates or numbers), weight (0 or more). The last two columns are optional. Ids may be of
        any type that can be hashed. Without timestamps, the rows of a user must be in order of time. If a user has several
        rows with one item, the first is kept. Raises InputError for a missing column, and for a missing or wrong value,
        with its row.
        """
        named = {"user": user, "item": item, "timestamp": timestamp, "weight": weight}
        table = read_interactions(interactions, named)
        self._model = build(self.name, self.settings, self.seed).fit(table.train)
        self._table = table
        return self

    def recommend(self, user: Any, k: int = 10) -> "pd.DataFrame":
        """The k best items that are not in the user's history, best first.

        Columns: the id of the item, with the column name of the table, and `score`. There are fewer rows if the recommender
        has fewer candidates. Raises InputError if the user is not in the table, or if k is less than 1.
        """
        table = self._fitted()
        code = _known(table.users.code(user), "user", user, table.users.examples())
        items, scores = self._model.recommend(np.array([code]), _many(k))
        return self._answer(items[0], scores[0], "score")

    def similar(self, item: Any, k: int = 10) -> "pd.DataFrame":
        """The k items most similar to this one, most similar first.

        Columns: the id of the item, with the column name of the table, and `similarity`. Raises InputError for an unknown
        item, for k less than 1, and if the recommender keeps no neighbours of items.
        """
        table = self._fitted()
        if not hasattr(self._model, "similar_items"):
            raise InputError(
                f"{type(self).__name__} keeps no neighbours of items. ItemCF, BM25, Swing, EASE and RP3beta do."
            )
        code = _known(table.items.code(item), "item", item, table.items.examples())
        items, scores = self._model.similar_items(np.array([code]), _many(k))
        return self._answer(items[0], scores[0], "similarity")

    def __repr__(self) -> str:
        given = ", ".join(
            f"{key}={getattr(self.settings, key)!r}" for key in sorted(self.settings.model_fields_set)
        )
        return f"{type(self).__name__}({given})"

    def _fitted(self) -> "InteractionTable":
        if self._table is None:
            raise InputError(f"{type(self).__name__}: fit(interactions) has not run yet.")
        return self._table

    def _answer(self, items: np.ndarray, scores: np.ndarray, score: str) -> "pd.DataFrame":
        import pandas as pd

        table, there = self._fitted(), items >= 0
        ids = _series(table.items.of(items[there].tolist()))
        return pd.DataFrame({table.item_column: ids, score: scores[there]})


@cache
def recommender_class(name: str) -> type[TableRecommender]:
    """The class of a recommender, by its name in a recipe, e.g. `swing`. Its keywords are the settings in a recipe."""
    section = recommender_spec(name).settings
    keywords = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=field.get_default())
        for key, field in section.model_fields.items()
        if key not in OF_TRAINING_SETS
    ]
    seed = inspect.Parameter("seed", inspect.Parameter.KEYWORD_ONLY, default=0)
    members = {
        "name": name,
        "__doc__": inspect.getdoc(TableRecommender),
        "__module__": "longtail",
        "__signature__": inspect.Signature([*keywords, seed]),
    }
    return type(section.__name__.removesuffix("Section"), (TableRecommender,), members)


def recommender_names() -> dict[str, str]:
    """From the name of a class to the name in a recipe, e.g. from ItemCF to itemcf."""
    return {recommender_class(name).__name__: name for name in recommenders()}


def _series(ids: list[Any]) -> "pd.Series":
    """Ids as a pandas column. Text and integers get pandas' own type. Others stay objects: pandas would turn 1 into 1.0."""
    import pandas as pd

    kinds = {type(one) for one in ids}
    with suppress(UnicodeEncodeError):  # a lone surrogate, which only a column of objects can hold
        return pd.Series(ids, dtype=None if kinds in ({int}, {str}) else object)
    return pd.Series(ids, dtype=object)


def _known(code: int | None, what: str, one: Any, examples: str) -> int:
    if code is None:
        raise InputError(f"no {what} {one!r} ({type(one).__name__}) in the table. It has {examples}.")
    return code


def _many(k: int) -> int:
    if k < 1:
        raise InputError(f"k = {k}: ask for 1 item or more.")
    return k
