"""Every user's list is the one that was published, whatever the files and their order; no folder means no lists."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.aggregation.llm_lists import LLMLists
from longtail.schema import RANKINGS
from longtail.workspace import Workspace

USERS = 6
rankings = st.lists(st.integers(0, 30), unique=True, max_size=7)


@settings(max_examples=50)
@given(st.dictionaries(st.integers(0, USERS - 1), rankings), st.integers(0, USERS), st.randoms())
def test_lists_against_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, published: dict[int, list[int]], cut: int, random
) -> None:
    folder = Workspace(str(tmp_path_factory.mktemp("rankings"))) / "rankings"
    users = list(published)
    random.shuffle(users)
    for name, part in (("a", users[:cut]), ("b", users[cut:])):
        rows = [
            {
                "user": user,
                "items": published[user],
                "scores": np.linspace(1, 0, len(published[user])).tolist(),
            }
            for user in part
        ]
        (folder / f"{name}.parquet").write_table(pa.Table.from_pylist(rows, RANKINGS))
    lists = LLMLists.read(folder, USERS)
    asked = [random.randrange(USERS) for _ in range(8)]
    items, scores = lists.of(np.array(asked))
    assert items.shape == scores.shape == (8, max(len(published.get(user, [])) for user in asked))
    for row, user in enumerate(asked):
        own = published.get(user, [])
        assert items[row].tolist() == own + [-1] * (items.shape[1] - len(own))
        assert scores[row, : len(own)] == pytest.approx(np.linspace(1, 0, len(own)))
    assert lists.lengths.tolist() == [len(published.get(user, [])) for user in range(USERS)]


def test_no_rankings_no_lists(tmp_path: Path) -> None:
    lists = LLMLists.read(Workspace(str(tmp_path)) / "rankings", USERS)
    items, scores = lists.of(np.array([3, 0]))
    assert items.shape == scores.shape == (2, 0)
