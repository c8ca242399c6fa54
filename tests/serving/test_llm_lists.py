"""The LLM's lists hold each candidate of the ledger once, best first, and nothing else."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.schema import ACCEPTED, ANSWERS, OUTCOMES, REJECTED
from app.serving.llm_lists import LLMLists
from app.workspace import Place, Workspace

USERS = 5
scores = st.none() | st.integers(0, 64).map(lambda n: n / 64)  # exact in float32
proposals = st.fixed_dictionaries(
    {
        "item": st.integers(0, 8),
        "outcome": st.sampled_from(OUTCOMES),
        "likelihood": scores,
        "confidence": scores,
    }
)
answers = st.fixed_dictionaries(
    {"user": st.integers(0, USERS - 1), "proposals": st.lists(proposals, max_size=6) | st.none()}
)


def write(place: Place, rows: list[dict[str, Any]]) -> None:
    place.write_table(pa.Table.from_pylist(rows, ANSWERS))


@settings(max_examples=50)
@given(st.lists(answers, max_size=8), st.lists(answers, max_size=8))
def test_lists_against_plain_python(
    tmp_path_factory: pytest.TempPathFactory, first: list[dict[str, Any]], second: list[dict[str, Any]]
) -> None:
    ledger = Workspace(str(tmp_path_factory.mktemp("ledger"))) / "answers"
    write(ledger / "a.parquet", first)
    write(ledger / "b.parquet", second)
    lists = LLMLists.read([ledger], USERS)
    for user in range(USERS):
        best: dict[int, float] = {}
        for answer in first + second:
            for one in (answer["proposals"] or []) if answer["user"] == user else []:
                if one["outcome"] in (ACCEPTED, REJECTED):
                    score = one["confidence"] if one["confidence"] is not None else one["likelihood"] or 0.0
                    best[one["item"]] = max(best.get(one["item"], 0.0), score)
        wanted = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))
        items, confidences = lists.of(user)
        assert list(zip(items.tolist(), confidences.tolist(), strict=True)) == wanted


def test_no_answers_no_lists(tmp_path: Path) -> None:
    lists = LLMLists.read([Workspace(str(tmp_path)) / "answers"], USERS)
    assert lists.of(3)[0].tolist() == []
