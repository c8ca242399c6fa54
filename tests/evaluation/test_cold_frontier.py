"""The frontier: what is measured at each share is what the recommender at this share shows."""

from dataclasses import asdict

import numpy as np
import pytest

from longtail.evaluation.cold_frontier import SHARES, measure_frontier
from longtail.recommenders import build, load
from longtail.workspace import Workspace
from tests.evaluation.cold_store import write_cold_store
from tests.recommenders.conftest import SECTIONS
from tests.recommenders.training.test_cold_vectors import COLD, N_ITEMS, shop

USERS = 200


def published(tmp_path, later: list[list[int]]) -> Workspace:
    ws = Workspace(str(tmp_path))
    train = shop()
    taken = [row.tolist() for row in np.split(train.items, train.indptr[1:-1])]
    write_cold_store(ws / "data", taken, later, np.isin(np.arange(N_ITEMS), [*COLD, N_ITEMS - 1]))
    section = SECTIONS["itemcf"].model_copy(update={"text": 1.0, "cold_share": 0.03, "neighbours": 40})
    build("itemcf", section).fit(train).save(ws / "fit")
    return ws


def test_each_point_is_what_a_loop_over_users_counts(tmp_path) -> None:
    rng = np.random.default_rng(3)
    warm = np.setdiff1d(np.arange(N_ITEMS), [*COLD, N_ITEMS - 1])
    later = [[int(rng.choice(COLD)), int(rng.choice(warm))][: 1 + user % 2] for user in range(USERS)]
    ws = published(tmp_path, later)
    name, points = measure_frontier("itemcf", ws / "fit", ws / "data", 0.03)
    assert name == "itemcf" and [one.share for one in points] == sorted({*SHARES, 0.03})
    for one in points:
        lists = load(ws / "fit").at_share(one.share).recommend(np.arange(USERS), 50)[0]
        assert one.taken == pytest.approx(np.isin(lists[:, :10], COLD).mean())
        for kind, values in (("cold", one.cold), ("warm", one.warm)):
            for k, value in zip((10, 50), values, strict=True):
                hits = [
                    item in lists[user, :k]
                    for user, items in enumerate(later)
                    for item in items
                    if (item in COLD) == (kind == "cold")
                ]
                assert value == pytest.approx(np.mean(hits)), (one.share, kind, k)
    assert points[0].cold == [0, 0] and points[-1].cold[1] > 0 and asdict(points[0])["taken"] == 0


def test_without_a_cold_test_item_there_is_nothing_to_draw(tmp_path) -> None:
    ws = published(tmp_path, [[0] for _ in range(USERS)])
    assert measure_frontier("itemcf", ws / "fit", ws / "data", 0.03) == ("itemcf", [])
