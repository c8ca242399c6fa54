"""What item-to-item recommenders share: lists from sparse sums, similar items, and a Parquet file others can read."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.errors import InputError
from longtail.recommenders import build
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.ease import EASESection
from longtail.recommenders.models.itemcf import ItemCFSection
from longtail.recommenders.models.neighbours import Neighbours
from longtail.recommenders.models.rp3beta import RP3betaSection
from longtail.recommenders.models.swing import SwingSection
from longtail.recommenders.recommender import Recommender
from longtail.workspace import Workspace
from tests.recommenders.conftest import clusters, interactions

MODELS = {"itemcf": ItemCFSection, "swing": SwingSection, "ease": EASESection, "rp3beta": RP3betaSection}


@pytest.fixture(scope="module", params=list(MODELS))
def model(request: pytest.FixtureRequest) -> Neighbours:
    return build(request.param, MODELS[request.param](recency=0.8, neighbours=5)).fit(clusters())


def test_neighbours_stand_best_first(model: Neighbours) -> None:
    for item in range(24):
        scores = model.similarity.data[model.similarity.indptr[item] : model.similarity.indptr[item + 1]]
        assert (np.diff(scores) <= 0).all() and len(scores) <= 5


@given(
    histories=st.lists(st.lists(st.integers(0, 23), max_size=8), max_size=5),
    k=st.integers(0, 30),
    exclude_seen=st.booleans(),
)
def test_sparse_lists_equal_those_of_whole_rows(
    model: Neighbours, histories: list[list[int]], k: int, exclude_seen: bool
) -> None:
    """Repeated items, empty histories and k beyond the catalogue included."""
    asked = Histories.of([np.array(own, np.int32) for own in histories])
    found, expected = (
        way(model, asked, None, k, exclude_seen) for way in (Neighbours._top, Recommender._top)
    )
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@given(items=st.lists(st.integers(0, 23), max_size=6), k=st.integers(0, 30))
def test_similar_items_are_the_best_of_the_row(model: Neighbours, items: list[int], k: int) -> None:
    found, scores = model.similar_items(np.array(items, np.int32), k)
    assert found.shape == scores.shape == (len(items), k)
    assert found.dtype == np.int32 and scores.dtype == np.float32
    for item, own, values in zip(items, found, scores, strict=True):
        row = model.similarity[[item]].toarray()[0]
        best = np.lexsort((np.arange(24), -row))[: min(k, (row > 0).sum())]
        np.testing.assert_array_equal(own, np.pad(best, (0, k - len(best)), constant_values=-1))
        np.testing.assert_array_equal(values[: len(best)], row[best])
        assert (values[len(best) :] == -np.inf).all()


@pytest.mark.parametrize("items", [[-1], [24]])
def test_items_beyond_the_catalogue(model: Neighbours, items: list[int]) -> None:
    with pytest.raises(InputError, match=r"the catalogue has 0\.\.23"):
        model.similar_items(np.array(items), 3)


def test_the_file_of_neighbours_reads_without_us(model: Neighbours, tmp_path: Path) -> None:
    model.save(Workspace(str(tmp_path)) / "model")
    table = pq.read_table(tmp_path / "model" / "neighbours.parquet")
    assert table.schema.equals(
        pa.schema(
            [
                ("item", pa.int32()),
                ("neighbours", pa.list_(pa.int32())),
                ("scores", pa.list_(pa.float32())),
            ]
        )
    )
    items, scores = model.similar_items(np.arange(24), 5)
    for row in table.to_pylist():
        kept, similar = items[row["item"]] >= 0, np.array(row["scores"]) > 0  # EASE has negative ones too
        assert np.array(row["neighbours"])[similar].tolist() == items[row["item"]][kept].tolist()
        assert np.array(row["scores"], np.float32)[similar].tolist() == scores[row["item"]][kept].tolist()


def test_a_loaded_model_is_the_saved_one(model: Neighbours, tmp_path: Path) -> None:
    place = Workspace(str(tmp_path)) / "model"
    model.save(place)
    loaded = type(model)(model.name, model.section).load(place)
    for name in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(loaded.similarity, name), getattr(model.similarity, name))
    users = np.arange(60)
    for found, expected in zip(loaded.recommend(users, 10), model.recommend(users, 10), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", list(MODELS))
def test_thin_data(kind: str) -> None:
    """k beyond the catalogue, items without users, a user without items and one whose items come twice."""
    train = interactions([[0, 1, 0], [0, 1, 2], [1, 2], []], 6)
    model = build(kind, MODELS[kind](neighbours=50)).fit(train)
    items, scores = model.recommend(np.arange(4), 10)
    assert set(items[0]) == {2, -1} and (items[3] == -1).all()
    assert ((items == -1) == np.isneginf(scores)).all()
    assert not set(items.ravel()) & {3, 4, 5}, "nobody took them"
    assert (model.similar_items(np.array([4]), 3)[0] == -1).all()
