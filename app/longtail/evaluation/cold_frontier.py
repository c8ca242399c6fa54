"""What cold items cost: how well cold and warm items are found as cold ones take more of users' first places."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from longtail.data.catalogue import COLD
from longtail.evaluation.ranks import rank_targets
from longtail.evaluation.targets import read_targets, split_parts
from longtail.ranking_metrics import METRICS, per_user
from longtail.recipe import Recipe
from longtail.recommenders import load
from longtail.recommenders.recommender import Recommender
from longtail.recommenders.scoring.exposure import PLACES
from longtail.rounds import last_round
from longtail.workspace import Workspace
from longtail.workspace.place import Place

SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""The shares of the first places that are tried, beside that of the recipe."""
KS = (10, 50)
MOST_USERS = 10_000


@dataclass(frozen=True)
class FrontierPoint:
    """share: the most that cold items may take of the first places. taken: what they took. cold, warm: Recall at each of
    KS, the mean over users with such a test item.
    """

    share: float
    taken: float
    cold: list[float]
    warm: list[float]


def frontier_tasks(recipe: Recipe, ws: Workspace) -> list[Any]:
    """A Ray task for each recommender that may rank cold items, if the recipe holds some out."""
    import ray

    if recipe.dataset.split != "cold":
        return []
    round_ = last_round(recipe)
    measure = ray.remote(num_cpus=1)(measure_frontier).remote
    return [
        measure(name, ws / round_.at(f"recommenders/observed/{name}-0"), ws / round_.data, section.cold_share)
        for name, section in recipe.recommenders.items()
        if hasattr(section, "cold_share") and "observed" in (section.variants or recipe.variants)
    ]


def read_frontiers(tasks: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """By recommender its points, as `metrics.json` has them."""
    import ray

    return {name: [asdict(point) for point in points] for name, points in ray.get(tasks) if points}


def measure_frontier(
    recommender: str, fit: Place, data: Place, own: float
) -> tuple[str, list[FrontierPoint]]:
    """The name, and its points for SHARES and for `own`, the share of the recipe; none if the fit ranks no cold item, or if
    no cold item is a test item. At most MOST_USERS users are asked about. Runs as a Ray task.
    """
    users, rows, targets = _asked(data)
    cold, model = read_cold(data), load(fit)
    if not cold[targets].any():
        return recommender, []
    asked = users, rows, targets, cold
    return recommender, [
        _point(share, changed, *asked)
        for share in sorted({*SHARES, own})
        if (changed := model.at_share(share)) is not None
    ]


def read_cold(data: Place) -> np.ndarray:
    """Which items of `data` are cold: bool [n_items]."""
    items = (data / "items.parquet").read_table(["item", "slice"]).sort_by("item")
    return pc.equal(items["slice"], COLD).to_numpy()


def _asked(data: Place) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users with a test item, and the row and the item of each of these, as `read_targets` gives them."""
    users: list[np.ndarray] = [np.zeros(0, np.int64)]
    rows: list[np.ndarray] = [np.zeros(0, np.int64)]
    targets: list[np.ndarray] = [np.zeros(0, np.int64)]
    known = 0
    for part in split_parts(data):
        for block in read_targets(part, "test"):
            if known < MOST_USERS:
                users.append(block[0])
                rows.append(block[1] + known)
                targets.append(block[2])
                known += len(block[0])
    return tuple(np.concatenate(column) for column in (users, rows, targets))


def _point(
    share: float,
    model: Recommender,
    users: np.ndarray,
    rows: np.ndarray,
    targets: np.ndarray,
    cold: np.ndarray,
) -> FrontierPoint:
    lists, _ = model.recommend(users, min(max(KS), model.n_items))
    first = lists[:, :PLACES]
    taken = float((cold[np.maximum(first, 0)] & (first >= 0)).mean()) if first.size else 0.0
    ranks = rank_targets(lists, rows, targets)
    found = {}
    for kind in (True, False):
        of_kind = cold[targets] == kind
        values = per_user(rows[of_kind], ranks[of_kind], KS)[1][:, METRICS.index("recall")]
        found[kind] = values.mean(axis=0).tolist() if len(values) else [0.0] * len(KS)
    return FrontierPoint(share, taken, found[True], found[False])
