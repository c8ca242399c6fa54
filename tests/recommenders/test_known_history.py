"""What ItemCF finds on Amazon Beauty, by what is known: figures that an audit found, with the settings of the recipe."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from longtail.arrays import offsets_of
from longtail.recipe import load_recipe
from longtail.recommenders import build
from tests.recommenders.conftest import interactions


def recall_at_10(histories: list[np.ndarray], fitted_without: int, asked_without: int) -> float:
    """Recall@10 of the last item; both counts say how many of the last items of each user are not known."""
    n_items = int(max(own.max() for own in histories)) + 1
    section = load_recipe("beauty").recommenders["itemcf"]
    model = build("itemcf", section).fit(
        interactions([own[: len(own) - fitted_without].tolist() for own in histories], n_items)
    )
    lists, _ = model.recommend_history([own[: len(own) - asked_without] for own in histories], 10)
    return float((lists == np.array([own[-1] for own in histories])[:, None]).any(axis=1).mean())


@pytest.fixture(scope="module")
def beauty(real_data: Callable[[str], Path]) -> list[np.ndarray]:
    table = pq.read_table(real_data("amazon-beauty") / "interactions.parquet")
    table = table.sort_by([("user", "ascending"), ("pos", "ascending")])
    _, users = np.unique(table["user"].to_numpy(), return_inverse=True)
    _, items = np.unique(table["item"].to_numpy(), return_inverse=True)
    return np.split(items.astype(np.int32), offsets_of(np.bincount(users))[1:-1])


@pytest.mark.parametrize(
    ("fitted_without", "asked_without", "expected"),
    [(2, 2, 0.0499), (2, 1, 0.0732), (1, 1, 0.0838)],
    ids=["train-only", "validation item known when asked", "standard"],
)
def test_itemcf_finds_more_if_the_validation_item_is_known(
    beauty: list[np.ndarray], fitted_without: int, asked_without: int, expected: float
) -> None:
    assert recall_at_10(beauty, fitted_without, asked_without) == pytest.approx(expected, abs=5e-5)
