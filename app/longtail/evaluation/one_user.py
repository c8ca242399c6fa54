"""The list of one user before and after the LLM, with titles.

The user is found by a rule that looks at no result but that the lists differ, so nobody can pick a pretty one: of the users
in the order of the prepared log, the first of a slice who has a test item and whose first items changed.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from longtail.aggregation.choice import Figure
from longtail.aggregation.fused import Fused
from longtail.aggregation.llm_lists import LLMLists
from longtail.data.histories import SPARSE
from longtail.evaluation.ranks import catalogue_size
from longtail.evaluation.slices import USER_SLICES, read_user_slices
from longtail.evaluation.targets import read_targets, split_parts
from longtail.recommenders.recommender import Recommender
from longtail.workspace import Workspace
from longtail.workspace.place import Place

K = 10
"""The length of the lists."""
TAKEN = 5
"""How many items of the history are told, the latest."""


@dataclass(frozen=True)
class Shown:
    """An item of a list. slice: that of the item; taken_later: whether it is a test item of the user."""

    title: str
    slice: str
    taken_later: bool


def before_and_after(ws: Workspace, before: Figure, after: Figure) -> dict[str, Any] | None:
    """The lists of one user by two fits, as they were evaluated. Meant for a Ray task. None if no list changed.

    `sparse`: whether the user is a sparse one: if no sparse user's list changed, it is the first of all users. `taken`: the
    latest known items of the user, and how many there are more. `later`: the titles of the test items.
    """
    data, (old, new) = ws / after.data, (_ranker(ws, one) for one in (before, after))
    for sparse in (True, False):
        found = _first_changed(data, old, new, sparse)
        if found:
            user, targets, lists = found
            return {"sparse": sparse} | _told(data, user, targets, lists)
    return None


def _ranker(ws: Workspace, one: Figure) -> Recommender | Fused:
    from longtail.recommenders import load

    model = load(ws / one.fit)
    if one.list is None:
        return model
    lists = LLMLists.read(ws / one.answers / "rankings", len(model.seen))
    return Fused(model, lists, None, one.candidates, one.fusion)


def _first_changed(
    data: Place, old: Recommender | Fused, new: Recommender | Fused, sparse: bool
) -> tuple[int, np.ndarray, list[np.ndarray]] | None:
    """The first user whose first K items changed, the user's test items, and both lists: int32 [<= K]."""
    slices, k = read_user_slices(data), min(K, catalogue_size(data))
    for part in split_parts(data):
        for users, rows, targets in read_targets(part, "test"):
            kept = slices[users] == USER_SLICES.index(SPARSE) if sparse else np.ones(len(users), bool)
            asked = users[kept]
            if not len(asked):
                continue
            lists = [_items(one, asked, k) for one in (old, new)]
            changed = np.flatnonzero((lists[0] != lists[1]).any(axis=1))
            if len(changed):
                row = changed[0]
                own = targets[rows == np.flatnonzero(kept)[row]]
                return int(asked[row]), own, [items[row][items[row] >= 0] for items in lists]
    return None


def _items(model: Recommender | Fused, users: np.ndarray, k: int) -> np.ndarray:
    """The first k items of each user: int32 [n, k], -1 if there are fewer."""
    found = model.recommend(users, k)[0][:, :k]
    return np.pad(found, ((0, 0), (0, k - found.shape[1])), constant_values=-1)


def _told(data: Place, user: int, targets: np.ndarray, lists: list[np.ndarray]) -> dict[str, Any]:
    items = (data / "items.parquet").read_table(["item_id", "title", "slice"])

    def title(item: int) -> str:
        return items["title"][item].as_py() or items["item_id"][item].as_py()

    def told(found: np.ndarray) -> list[dict[str, Any]]:
        return [
            asdict(Shown(title(int(item)), items["slice"][int(item)].as_py(), bool(item in targets)))
            for item in found
        ]

    user_id, taken = _history(data, user)
    return {
        "user_id": user_id,
        "taken": {
            "latest": [title(int(item)) for item in taken[-TAKEN:]],
            "more": max(0, len(taken) - TAKEN),
        },
        "later": [title(int(item)) for item in targets],
        "before": told(lists[0]),
        "after": told(lists[1]),
    }


def _history(data: Place, user: int) -> tuple[str, np.ndarray]:
    """The raw id of a user and the items that are known of that user, oldest first."""
    for file in (data / "histories").files(".parquet"):
        table = file.read_table(["user", "user_id", "items", "train_end"])
        (rows,) = np.nonzero(table["user"].to_numpy() == user)
        for row in rows.tolist():
            whole = np.array(table["items"][row].as_py())
            return table["user_id"][row].as_py(), whole[: table["train_end"][row].as_py()]
    raise ValueError(f"{data}: no user {user}")
