"""A request in the codes of a snapshot: who asks, with what history, for what items, and what is missing for the answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from longtail.schema import NOTHING
from longtail.serving.answering.parts import LaterItems
from longtail.serving.messages.answer_messages import Missing, Part, Reason
from longtail.serving.messages.problems import Fault, Refused, pointer_to
from longtail.serving.messages.request_messages import RecommendRequest
from longtail.serving.versions.retriever import Asked, List
from longtail.serving.versions.served_arm import NO_LIST, Arm
from longtail.serving.versions.served_items import UnknownAttribute
from longtail.serving.versions.snapshot import Snapshot

NAMED = 100
"""Unknown ids that an answer repeats."""
POPULAR = "the popular items"


@dataclass
class Question:
    """user: the code of the user; None if the workspace has no such user. asked: the history and what is wanted.

    whole: the number of items of the history that the look-ups are made from; None if the history does not begin with them.
    llm: the list that was made for this user, without what is not wanted. since: the number of items that the history has
    more than the list was made from; None if no list was made from the beginning of this history.
    """

    request: RecommendRequest
    arm: Arm
    user: int | None
    asked: Asked
    whole: int | None
    llm: List
    since: int | None
    missing: list[Missing] = field(default_factory=list)

    @classmethod
    def of(
        cls, request: RecommendRequest, here: Snapshot, arm: Arm, later: LaterItems | None = None
    ) -> "Question":
        """Raises Refused if a filter names an attribute that the catalogue lacks."""
        user = None if request.user_id is None else here.users.ids.code(request.user_id)
        history, unknown = _history(request, user, here, later)
        asked = Asked(None, history, _banned(request, here), _allowed(request, here))
        since, whole = None, None
        if user is not None:
            since = _more(history, here.users.known(user))
            whole = None if _more(history, own := here.users.history(user)) is None else len(own)
            asked = replace(asked, user=None if since is None else user)
        made = NO_LIST if since is None else _wanted(arm.list_of(user), asked)
        found = cls(request, arm, user, asked, whole, made, since)
        if unknown:
            stood_in = "the items that the catalogue has" if len(history) else POPULAR
            found.lacks("history", "unknown_items", stood_in, unknown)
        if user is None and not len(history) and not unknown:
            found.lacks("user", "unknown_user", POPULAR)
        if asked.allowed is not None and not asked.allowed.any():
            found.lacks("filter", "no_match", "nothing")
        return found

    @property
    def wants_live(self) -> bool:
        """Whether only a live LLM can rank for this history."""
        return self.arm.lists is not None and bool(len(self.known_to_llm)) and self.since != 0

    @property
    def known_to_llm(self) -> np.ndarray:
        """The history without items that were added after training, for which an LLM has no word: int32 [n]."""
        history = self.asked.history
        return history[history < self.arm.n_trained]

    @property
    def had_list(self) -> bool:
        """Whether a list was made from the beginning of this history."""
        return self.since is not None and len(self.arm.list_of(self.user)[0]) > 0

    def checked(self, items: np.ndarray, scores: np.ndarray) -> List:
        """A list of the live LLM, without items that are not wanted. Raises ValueError if it is no list of items."""
        items, scores = np.asarray(items), np.asarray(scores, np.float32)
        if items.dtype.kind not in "iu" or items.ndim != 1 or items.shape != scores.shape:
            raise ValueError(
                f"items {items.dtype}{list(items.shape)} and scores {list(scores.shape)} are no list"
            )
        known = (items >= 0) & (items < self.arm.retriever.model.n_items)
        if not known.all() or len(np.unique(items)) < len(items) or not np.isfinite(scores).all():
            raise ValueError("its items are not distinct items of the catalogue with finite scores")
        return _wanted((items.astype(np.int32), scores), self.asked)

    @property
    def of_nobody(self) -> bool:
        """Whether nothing is known of who asks."""
        return self.user is None and not len(self.asked.history)

    def without_live(self, reason: Reason) -> List:
        """The older list of the user, if there is one; notes that the live LLM is missing."""
        stood_in = "the recommender alone"
        if self.had_list:
            latest = "item" if self.since == 1 else f"{self.since} items"
            stood_in = f"the list that was made before the latest {latest}"
        self.lacks("llm", reason, stood_in)
        return self.llm

    def note_not_live(self) -> None:
        """Note what is missing because there is no live LLM. A user for whom no list was ever made misses nothing."""
        if self.wants_live and self.had_list:
            self.without_live("moved_on")
        elif self.wants_live and self.since is None:
            self.without_live("not_live")

    def lacks(self, part: Part, reason: Reason, stood_in: str, items: Sequence[str] = ()) -> None:
        """Note what is missing, why, and what stands in its place."""
        self.missing.append(Missing(part=part, reason=reason, stood_in=stood_in, items=items[:NAMED]))

    def look_up(self) -> List | None:
        """The recommender's list, if it needs no model: for the whole history, or one that begins with it if the
        recommender keeps its users.
        """
        if self.whole is None:
            return None
        later = self.asked.history[self.whole :]
        known_to_fit = self.since != len(self.asked.history)
        if len(later) and not (self.arm.keeps_users and known_to_fit):
            return None
        return self.arm.retriever.look_up(self._banning(later))

    def looked_up_instead(self) -> List | None:
        """The recommender's list for the history in the workspace, without the items of this history."""
        if self.user is None:
            return None
        return self.arm.retriever.look_up(replace(self._banning(self.asked.history), user=self.user))

    def _banning(self, items: np.ndarray) -> Asked:
        return replace(self.asked, banned=np.concatenate([self.asked.banned, items]))


def _history(
    request: RecommendRequest, user: int | None, here: Snapshot, later: LaterItems | None
) -> tuple[np.ndarray, list[str]]:
    """The codes int32 of the history, oldest first, and the ids that the catalogue lacks."""
    if request.history is not None:
        return _known(request.history, here)
    events = later.of(request.user_id) if later else []
    told, unknown = _known(events, here)
    if user is None:
        return told, unknown
    own = here.users.history(user)
    new = told[~np.isin(told, own)]  # the data may have been prepared again since
    return np.concatenate([own, new]) if len(new) else own, unknown


def _known(ids: Sequence[str], here: Snapshot) -> tuple[np.ndarray, list[str]]:
    codes = here.items.ids.look_up(ids)
    unknown = np.flatnonzero(codes == NOTHING)
    return codes[codes != NOTHING], [ids[place] for place in unknown]


def _banned(request: RecommendRequest, here: Snapshot) -> np.ndarray:
    codes = here.items.ids.look_up(request.exclude)
    return codes[codes != NOTHING]


def _allowed(request: RecommendRequest, here: Snapshot) -> np.ndarray | None:
    if not request.filter:
        return None
    try:
        return here.items.allowed(request.filter)
    except UnknownAttribute as error:
        fault = Fault(pointer=pointer_to("filter", error.attribute), message=str(error))
        raise Refused(409, f"filter: {error}", [fault]) from None


def _more(history: np.ndarray, beginning: np.ndarray) -> int | None:
    """How many items a history has after this beginning; None if it begins otherwise."""
    more = len(history) - len(beginning)
    return more if more >= 0 and np.array_equal(history[: len(beginning)], beginning) else None


def _wanted(made: List, asked: Asked) -> List:
    """A list of the LLM without the items of the history and those that are not wanted."""
    items, scores = made
    if not len(items):
        return made
    kept = asked.wanted(items) & ~np.isin(items, asked.history)
    return items[kept], scores[kept]
