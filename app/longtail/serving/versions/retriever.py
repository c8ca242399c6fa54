"""The list of one recommender: looked up for known users, ranked by the model for everybody else.

The look-ups are made once for each version: the best items of every user, from the whole history in the workspace.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from longtail.recommenders.interactions import Histories
from longtail.recommenders.recommender import Recommender
from longtail.recommenders.scoring.best_k import top_k

SPARE = 50
"""Items that a look-up has beyond the candidates. So many may be excluded before the model is asked."""
USERS_AT_ONCE = 4096
List = tuple[np.ndarray, np.ndarray]
"""Items int32 [n], best first, and their scores float32 [n]."""


@dataclass(frozen=True)
class Asked:
    """Who a list is for. history int32 [n]: oldest first; its items are never in the list.

    user: the code of a user whose history begins with the training items of the fit, so that what the fit learnt of this
    user counts; None for anybody else. banned int32 [m]: more items that are not wanted. allowed bool [items]: the items
    that are wanted; None for all.
    """

    user: int | None
    history: np.ndarray
    banned: np.ndarray
    allowed: np.ndarray | None

    def wanted(self, items: np.ndarray) -> np.ndarray:
        """bool [n]: whether the list may have the items int [n]."""
        kept = items >= 0
        if len(self.banned):
            kept &= ~np.isin(items, self.banned)
        return kept if self.allowed is None else kept & self.allowed[items]

    @property
    def free(self) -> bool:
        """Whether everything outside the history is wanted."""
        return self.allowed is None and not len(self.banned)


@dataclass(frozen=True)
class Retriever:
    """A fitted recommender, and how many of its best items are a list.

    rows: the look-ups, items int32 and scores float32 [users, width], with more items than a list, -1 after the last; None
    if every list is ranked when it is asked for.
    """

    model: Recommender
    candidates: int
    rows: List | None

    def look_up(self, asked: Asked) -> List | None:
        """The list of a user for the whole history in the workspace. None if only the model can tell: because there are no
        look-ups, or because fewer than `candidates` of them are wanted.
        """
        if self.rows is None or asked.user is None:
            return None
        items, scores = (row[asked.user] for row in self.rows)
        kept = np.flatnonzero(asked.wanted(items))
        has_more = len(items) < self.model.n_items and items[-1] >= 0
        if len(kept) < self.candidates and has_more:
            return None
        kept = kept[: self.candidates]
        return items[kept], scores[kept]

    def rank(self, asked: Sequence[Asked]) -> list[List]:
        """The lists by the model, in the order of `asked`: those of one kind in one pass."""
        found: list[List] = [(np.zeros(0, np.int32), np.zeros(0, np.float32))] * len(asked)
        kinds: dict[tuple[bool, bool], list[int]] = {}
        for place, one in enumerate(asked):
            kinds.setdefault((one.user is None, one.free), []).append(place)
        for (adhoc, free), places in kinds.items():
            group = [asked[place] for place in places]
            ranked = self._ranked(group, adhoc) if free else self._restricted(group, adhoc)
            for place, items, scores in zip(places, *ranked, strict=True):
                kept = items >= 0
                found[place] = items[kept], scores[kept]
        return found

    def of_users(self, users: np.ndarray, since: Histories) -> tuple[np.ndarray, np.ndarray]:
        """The lists of users int [n] who took the items `since` [n] after the fit: items int32 and scores float32
        [n, candidates], -1 and -inf after the last.
        """
        if self.rows is not None:
            return tuple(rows[users, : self.candidates] for rows in self.rows)
        return self.model.recommend(users, min(self.candidates, self.model.n_items), since=since)

    def _ranked(self, asked: list[Asked], adhoc: bool) -> tuple[np.ndarray, np.ndarray]:
        many = min(self.candidates, self.model.n_items)
        if adhoc:
            return self.model.recommend_history([one.history for one in asked], many)
        users = self._users(asked)
        starts = self.model.seen.indptr
        fitted = starts[users + 1] - starts[users]
        since = [one.history[length:] for one, length in zip(asked, fitted, strict=True)]
        return self.model.recommend(users, many, since=Histories.of(since))

    def _restricted(self, asked: list[Asked], adhoc: bool) -> tuple[np.ndarray, np.ndarray]:
        """As `_ranked`, over the items that are wanted."""
        histories = Histories.of([one.history for one in asked])
        scores = self.model.score(histories, None if adhoc else self._users(asked))
        scores[histories.rows, histories.items] = -np.inf
        for row, one in enumerate(asked):
            scores[row, one.banned] = -np.inf
            if one.allowed is not None:
                scores[row, ~one.allowed] = -np.inf
        return top_k(scores, min(self.candidates, self.model.n_items))

    def _users(self, asked: list[Asked]) -> np.ndarray:
        return np.array([one.user for one in asked], np.int64)


def ranked_rows(
    model: Recommender, candidates: int, since: Histories
) -> tuple[int, Iterator[tuple[slice, List]]]:
    """The width of the look-ups of all users, and their blocks: which rows, items int32 and scores float32 [rows, width].

    candidates: the longest list. since: the items that each user took after the fit.
    """
    width = min(candidates + SPARE, model.n_items)

    def blocks() -> Iterator[tuple[slice, List]]:
        for start in range(0, len(since), USERS_AT_ONCE):
            users = np.arange(start, min(start + USERS_AT_ONCE, len(since)))
            yield slice(start, start + len(users)), model.recommend(users, width, since=since.take(users))

    return width, blocks()
