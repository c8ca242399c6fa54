"""Histories to training sets: nothing held out trains, nothing of train is left out."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.recommenders.training.reading import read_observed, read_validation
from longtail.schema import HISTORIES
from longtail.workspace import Workspace
from longtail.workspace.place import Place

N_ITEMS = 9
users = st.tuples(st.lists(st.integers(0, N_ITEMS - 1), unique=True), st.integers(0, 9), st.integers(0, 9))


def publish(folder: Path, rows: list[tuple[list[int], int, int]]) -> Place:
    """Histories with two cuts each, in two files, the later users first."""
    table = pa.Table.from_pylist(
        [
            {
                "user": user,
                "user_id": str(user),
                "items": items,
                "timestamps": [0] * len(items),
                "train_end": min(first, len(items)),
                "valid_end": min(first + more, len(items)),
                "slice": "sparse",
            }
            for user, (items, first, more) in enumerate(rows)
        ],
        HISTORIES,
    )
    data = Workspace(str(folder)) / "data"
    (data / "items.parquet").write_table(pa.table({"item": np.arange(N_ITEMS, dtype=np.int32)}))
    (data / "histories/a.parquet").write_table(table.slice(len(rows) // 2))
    (data / "histories/b.parquet").write_table(table.slice(0, len(rows) // 2))
    return data


@given(st.lists(users, min_size=1, max_size=8))
def test_train_and_validation_are_the_two_parts_of_every_history(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[list[int], int, int]]
) -> None:
    data = publish(tmp_path_factory.mktemp("ws"), rows)
    train, validation = read_observed(data), read_validation(data)
    assert (train.n_users, train.n_items) == (len(rows), N_ITEMS) and (train.weights == 1).all()
    held_out = list(zip(validation.users.tolist(), validation.items.tolist(), strict=True))
    expected = []
    for user, (items, first, more) in enumerate(rows):
        assert train.history(user).tolist() == items[:first]
        assert train.indptr[user + 1] - train.indptr[user] == train.observed[user]
        expected += [(user, item) for item in items[first : first + more]]
    assert held_out == expected
