"""The tally of the ledger is whole: files add up to the sums, and no proposal is without an outcome."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.evaluation.cost import Tally, cost, tally
from app.schema import ACCEPTED, ANSWERS, OUTCOMES
from app.workspace import Workspace


def answers(rng: np.random.Generator, n: int, outcomes: list[str | None]) -> pa.Table:
    def proposal(outcome):
        return {"text": "x", "item": 1, "outcome": outcome}

    rows = [
        {
            "request_id": str(row),
            "user": row,
            "strategy": "next_item",
            "prompt_tokens": int(rng.integers(100)),
            "output_tokens": int(rng.integers(9)),
            "seconds": float(rng.integers(8)) / 4,
            "questions": int(rng.integers(1, 12)),
            "text": "",
            "error": "died" if row % 7 == 0 else None,
            "proposals": None
            if row == 1
            else [proposal(one) for one in rng.choice(outcomes, rng.integers(5))],
        }
        for row in range(n)
    ]
    return pa.Table.from_pylist(rows, schema=ANSWERS)


def test_equals_a_count_by_hand_over_files_and_row_groups(tmp_path):
    rng, folder, tables = np.random.default_rng(2), Workspace(str(tmp_path)).root, []
    for name, n in (("a", 40), ("b", 1), ("c", 0)):
        tables.append(answers(rng, n, list(OUTCOMES)))
        pq.write_table(tables[-1], tmp_path / f"{name}.parquet", row_group_size=7)
    total = sum((tally(file) for file in folder.files(".parquet")), Tally())
    rows = pa.concat_tables(tables).to_pylist()
    assert total.requests == 41
    assert total.errors == sum(row["error"] is not None for row in rows)
    for name in ("questions", "prompt_tokens", "output_tokens", "seconds"):
        assert total.sums[name] == pytest.approx(sum(row[name] for row in rows))
    by_hand = Counter(proposal["outcome"] for row in rows for proposal in row["proposals"] or [])
    assert list(total.proposals) == list(OUTCOMES)
    assert {outcome: total.proposals[outcome] for outcome in OUTCOMES} == {
        one: by_hand[one] for one in OUTCOMES
    }


@pytest.mark.parametrize("strange", [None, "lost"])
def test_a_proposal_without_a_known_outcome_is_an_error(tmp_path, strange):
    place = Workspace(str(tmp_path)).root / "a.parquet"
    place.write_table(answers(np.random.default_rng(0), 20, [ACCEPTED, strange]))
    with pytest.raises(ValueError, match=str(strange)):
        tally(place)


def test_cost_per_accepted_interaction():
    total = Tally(
        4, 0, Counter(questions=12, prompt_tokens=90, output_tokens=10, seconds=2.0), Counter(accepted=5)
    )
    found = cost(total, wall_seconds=20.0)
    assert found["tokens_per_accepted"] == 20
    assert found["questions_per_accepted"] == 2.4
    assert found["wall_seconds_per_accepted"] == 4
    assert cost(Tally(), 1.0)["tokens_per_accepted"] is None
