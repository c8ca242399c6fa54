"""A recommender that fits a table answers as the one that a run fitted on the same log."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import longtail
from longtail.errors import InputError
from longtail.recommenders import load

KINDS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.Table.from_pandas}
LOG = pd.DataFrame({"user": list("aabbccd"), "item": [1, 2, 1, 2, 2, 3, 9], "rating": 1})


@pytest.fixture(scope="module")
def log(small_run: longtail.Run, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The log that the run trained on, in no order of time."""
    to = tmp_path_factory.mktemp("log") / "log.parquet"
    small_run.training_log("observed", to=to)
    rows = pd.read_parquet(to, columns=["user_id", "item_id", "timestamp", "weight"])
    return rows.sample(frac=1, random_state=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["swing", "itemcf"])
def test_it_ranks_as_the_stage_does(small_run: longtail.Run, log: pd.DataFrame, kind: str, name: str) -> None:
    stage = load(small_run.workspace.require(f"final/recommenders/observed/{name}-0"))
    data = small_run.workspace.require("data")
    items = (data / "items.parquet").read_table().sort_by("item")["item_id"].to_pylist()
    users = (data / "histories").read_table(["user", "user_id"]).sort_by("user")["user_id"].to_pylist()
    model = {"swing": longtail.Swing, "itemcf": longtail.ItemCF}[name](seed=small_run.recipe.seed)
    model.fit(KINDS[kind](log))
    found, scores = stage.recommend(np.arange(len(users)), 5)
    for user, own, worth in zip(users, found, scores, strict=True):
        answer = model.recommend(user, 5)
        _same([items[one] for one in own if one >= 0], worth[own >= 0], answer, "score")
    near, how = stage.similar_items(np.arange(len(items)), 5)
    for item in set(log["item_id"]):
        code = items.index(item)
        there = near[code] >= 0
        answer = model.similar(item, 5)
        _same([items[one] for one in near[code][there]], how[code][there], answer, "similarity")


def _same(ids: list[str], scores: np.ndarray, answer: pd.DataFrame, column: str) -> None:
    """Equal scores may stand in another order, as the two number items differently."""
    assert answer[column].to_numpy() == pytest.approx(scores, rel=1e-5)
    last = scores[-1] * (1 + 1e-5) if len(scores) else 0
    surely = {one for one, score in zip(ids, scores, strict=True) if score > last}
    assert surely <= set(answer["item_id"])


def test_a_trained_recommender_is_deterministic_and_takes_its_settings() -> None:
    settings = {"dim": 4, "epochs": 2, "batch": 4}
    first, second = (longtail.BPR(seed=3, **settings).fit(LOG).recommend("a", 2) for _ in range(2))
    pd.testing.assert_frame_equal(first, second)
    assert set(first["item"]) == {3, 9}
    assert repr(longtail.BPR(**settings)) == "BPR(batch=4, dim=4, epochs=2)"


def test_who_is_unknown_and_what_is_wrong_is_named() -> None:
    model = longtail.Swing().fit(LOG)
    for call, message in [
        (lambda: model.recommend("z"), r"no user 'z' \(str\) in the table. It has 'a', 'b', 'c' and 1 more"),
        (lambda: model.similar("1"), r"no item '1' \(str\) in the table. It has 1, 2, 3 and 1 more"),
        (lambda: model.recommend("a", k=0), "k = 0"),
        (lambda: longtail.Swing().recommend("a"), r"fit\(interactions\) has not run"),
        (lambda: longtail.Popularity().fit(LOG).similar(1), "keeps no neighbours of items"),
        (lambda: longtail.Swing(recencyy=1), "did you mean 'recency'"),
        (lambda: longtail.Swing(recency=2), "recency = 2"),
        (lambda: longtail.Swing(judge={}), "judge is a setting of a recipe"),
    ]:
        with pytest.raises(InputError, match=message):
            call()


def test_nobody_to_recommend_is_an_empty_table() -> None:
    answer = longtail.ItemCF().fit(LOG).recommend("d")
    assert list(answer.columns) == ["item", "score"] and answer.empty
