"""New users are left out of the log, whole, and nobody else; and what they lose is counted user by user."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import longtail
from jobs.new_users import KNOWN, NEW, compared, draw, without_them, write_log
from longtail.data import read_histories


def test_the_log_is_that_of_the_others(small_run: longtail.Run, tmp_path: Path) -> None:
    data = small_run.workspace / "final/data"
    drawn = draw(data, 20, seed=7)
    left_out = {one.user_id for one in drawn}
    assert len(left_out) == 20
    write_log(data, left_out, tmp_path)
    ids = (data / "items.parquet").read_table().sort_by("item")["item_id"].to_pylist()
    whole = {row["user_id"]: [ids[item] for item in row["items"]] for row in read_histories(data).to_pylist()}
    for one in drawn:
        assert [*one.history, one.target] == whole[one.user_id]
    log = pq.read_table(tmp_path / "interactions.parquet").sort_by("timestamp").to_pylist()
    written: dict[str, list[str]] = {}
    for row in log:
        written.setdefault(row["user_id"], []).append(row["item_id"])
    assert written == {user: items for user, items in whole.items() if user not in left_out and items}
    recipe = without_them(small_run.recipe, tmp_path, {"recommender": "swing", "list": "none"})
    assert (recipe.dataset.source, recipe.serving.recommender) == ("parquet", "swing")
    assert recipe.dataset.columns.attributes and recipe.recommenders == small_run.recipe.recommenders


def test_differences_are_those_of_one_user() -> None:
    known, new = np.array([1, 0, 3, 10]), np.array([1, 1, 0, 0])
    found = compared({KNOWN: known, NEW: new})
    assert found[KNOWN]["difference"] == found[KNOWN]["t"] == 0
    assert found[NEW]["ndcg"] == pytest.approx(0.5)
    gains = np.array([0, 1, -1 / np.log2(4), -1 / np.log2(11)])
    assert found[NEW]["difference"] == pytest.approx(gains.mean())
    assert found[NEW]["low"] < gains.mean() < found[NEW]["high"]
