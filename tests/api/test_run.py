"""A finished run as an object answers as serving does, with the ids of the raw log."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import longtail
from longtail.errors import InputError
from longtail.recommenders import load
from longtail.serving.answering.answer import answered
from longtail.serving.messages.request_messages import RecommendRequest
from longtail.serving.versions.served_run import sources_of
from longtail.serving.versions.snapshot import Snapshot


def test_metrics_are_the_rows_of_the_report(small_run: longtail.Run) -> None:
    rows = json.loads(Path(f"{small_run.workspace}/report/metrics.json").read_text())["rows"]
    found = small_run.metrics
    assert len(found) == len(rows) and found["value"].tolist() == [row["value"] for row in rows]
    assert {"recommender", "variant", "slice", "metric", "k", "n", "ci_low"} <= set(found.columns)
    assert set(found["recommender"]) == {"itemcf", "swing", "bpr"}


def test_it_recommends_what_serving_answers(small_run: longtail.Run, tmp_path: Path) -> None:
    sources = sources_of(small_run.workspace, small_run.recipe.serving)
    here = Snapshot.read(small_run.workspace, sources)
    total = small_run.recommend_all(7, to=tmp_path / "recs.parquet")
    every = pd.read_parquet(tmp_path / "recs.parquet")
    assert len(every) == total and every["user_id"].nunique() == len(here.users)
    for user in range(len(here.users)):
        name = here.users.ids[user]
        served = answered(RecommendRequest(user_id=name, k=7), here)
        asked = small_run.recommend(name, 7)
        assert asked["item_id"].tolist() == [item.item_id for item in served.items]
        assert asked["title"].tolist() == [item.title for item in served.items]
        assert asked.attrs["user_known"] and asked.attrs["recommender"] == served.recommender
        own = every[every["user_id"] == name].sort_values("rank")
        assert own["item_id"].tolist() == asked["item_id"].tolist()
        assert own["score"].to_numpy() == pytest.approx(asked["score"].to_numpy())
        assert own["rank"].tolist() == list(range(1, len(asked) + 1))


def test_somebody_unknown_gets_what_is_popular(small_run: longtail.Run) -> None:
    answer = small_run.recommend("nobody", 3)
    assert len(answer) == 3 and not answer.attrs["user_known"] and answer.attrs["recommender"] == "popularity"


def test_neighbours_are_those_of_the_fitted_models(small_run: longtail.Run, tmp_path: Path) -> None:
    total = small_run.neighbours(to=tmp_path / "near.csv")
    found = pd.read_csv(tmp_path / "near.csv")
    assert len(found) == total and set(found["recommender"]) == {"itemcf", "swing"}
    items = (small_run.workspace / "data/items.parquet").read_table().sort_by("item")["item_id"].to_pylist()
    for name in ("itemcf", "swing"):
        model = load(small_run.workspace / f"final/recommenders/observed/{name}-0")
        near, how = model.similar_items(np.arange(len(items)), 100)
        own = found[(found["recommender"] == name) & (found["variant"] == "observed")]
        expected = [
            (items[item], rank + 1, items[near[item, rank]])
            for item in range(len(items))
            for rank in range(100)
            if near[item, rank] >= 0
        ]
        assert list(own[["item_id", "rank", "neighbour_id"]].itertuples(index=False, name=None)) == expected
        assert own["similarity"].to_numpy() == pytest.approx(how[near >= 0], rel=1e-5)


def test_a_workspace_is_opened_again(small_run: longtail.Run) -> None:
    opened = longtail.open(str(small_run.workspace))
    assert opened.recipe == small_run.recipe and opened.metrics.equals(small_run.metrics)
    assert "tiny" in repr(opened)


def test_what_cannot_be_had_says_why(small_run: longtail.Run, tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_text("precious")
    for call, message in [
        (lambda: longtail.open(tmp_path), "there is no run here"),
        (lambda: longtail.run("dmo", workspace=tmp_path / "x"), "no such recipe. Shipped.*demo"),
        (lambda: longtail.run("demo", workspace=str(small_run.workspace)), "holds the run of recipe 'tiny'"),
        (lambda: small_run.recommend("u1", 51), r"k = 51: ask for 1 to 50 items \(serving.candidates"),
        (lambda: small_run.recommend_all(0, to=tmp_path / "a.csv"), "k = 0"),
        (lambda: small_run.recommend_all(5, to=tmp_path / "a.xlsx"), r"end in \.parquet or \.csv"),
        (lambda: small_run.neighbours(to=tmp_path / "old.csv"), r"old.csv is there already"),
        (
            lambda: small_run.training_log("generated", to=tmp_path / "b.csv"),
            "no training set 'generated', but obs",
        ),
    ]:
        with pytest.raises(InputError, match=message):
            call()
    assert (tmp_path / "old.csv").read_text() == "precious" and sorted(tmp_path.iterdir()) == [
        tmp_path / "old.csv"
    ]


def test_a_file_is_overwritten_if_that_is_said(small_run: longtail.Run, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("old")
    rows = small_run.training_log(to=tmp_path / "log.csv", overwrite=True)
    assert len(pd.read_csv(tmp_path / "log.csv")) == rows
