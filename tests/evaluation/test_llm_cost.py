"""The tally of the ledger is whole: files add up to the sums, and no proposal is without an outcome."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.evaluation.llm_cost import SUMS, Tally, cost, lift_per_cost, tally
from longtail.recipe import Price
from longtail.schema import ACCEPTED, ANSWERS, OUTCOMES
from longtail.workspace import Workspace


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
            "judge_questions": int(rng.integers(20)),
            "judge_tokens": int(rng.integers(50)),
            "judge_seconds": float(rng.integers(8)) / 8,
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
    for name in SUMS:
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


SUMMED = Counter(
    {
        **{"questions": 12, "prompt_tokens": 90, "output_tokens": 10, "seconds": 2.0},
        **{"judge_questions": 8, "judge_tokens": 100, "judge_seconds": 1.0},
    }
)


def test_cost_per_accepted_interaction_has_the_judge_in_it():
    found = cost(Tally(4, 1, SUMMED, Counter(accepted=5, duplicate=3)), wall_seconds=20.0, price=None)
    assert (found["requests"], found["failed_requests"], found["proposals"]) == (4, 1, 8)
    assert found["engine_seconds"] == 3
    assert found["tokens_per_accepted"] == 40
    assert found["questions_per_accepted"] == 4
    assert found["requests_per_accepted"] == 0.8
    assert found["wall_seconds_per_accepted"] == 4
    assert found["money"] is found["money_per_1000_accepted"] is None


def test_money_is_of_tokens_and_engine_hours():
    price = Price(prompt=1e6, output=2e6, hour=3600)
    found = cost(Tally(4, 0, SUMMED, Counter(accepted=5)), 20.0, price)
    assert found["money"] == pytest.approx(190 + 20 + 3)
    assert found["money_per_1000_accepted"] == pytest.approx(1000 * 213 / 5)


def test_money_of_strategies_adds_up():
    price, other = Price(prompt=3, output=5, hour=2), Tally(1, 0, Counter(prompt_tokens=7, judge_seconds=9.0))
    one = Tally(4, 0, SUMMED, Counter(accepted=5))
    total = cost(one + other, 1.0, price)["money"]
    assert total == pytest.approx(sum(cost(own, 1.0, price)["money"] for own in (one, other)))


def test_where_nothing_was_accepted_nothing_is_per_accepted():
    found = cost(Tally(3, 0, SUMMED, Counter(duplicate=2)), 1.0, Price(prompt=1))
    assert found["money"] > 0
    assert all(value is None for name, value in found.items() if name.endswith("_accepted"))


def row(variant, lift, **changes):
    found = {"recommender": "swing", "variant": variant, "slice": "all", "metric": "ndcg", "k": 10}
    return found | {"value": 0.2 * (1 + lift), "lift": lift, "ci_low": 0.01, "ci_high": 0.05} | changes


def spent(tokens, money=None):
    return {"prompt_tokens": tokens, "output_tokens": tokens, "judge_tokens": 0, "money": money}


SOURCES = {"generated": ("next_item",), "refined": ("next_item", "screening")}


def test_lift_is_divided_by_what_all_strategies_of_a_variant_cost():
    costs = {"next_item": spent(0, 2.0), "screening": spent(0, 3.0)}
    rows = [row("generated", 0.1), row("refined", 0.1)]
    one, both = lift_per_cost(rows, SOURCES, costs, 10)
    assert (one["cost"], both["cost"]) == (2, 5)
    assert one["per_unit"] == pytest.approx(0.05) and both["per_unit"] == pytest.approx(0.02)
    assert one["ci_low"] == pytest.approx(0.01 / 0.2 / 2) and one["ci_high"] == pytest.approx(0.05 / 0.2 / 2)


def test_without_a_price_lift_is_divided_by_a_million_tokens():
    costs = {"next_item": spent(1_000_000), "screening": spent(0)}
    (found,) = lift_per_cost([row("generated", 0.1)], SOURCES, costs, 10)
    assert found["cost"] == 2 and found["per_unit"] == pytest.approx(0.05)


def test_what_cost_nothing_or_has_no_lift_is_not_divided():
    costs = {"next_item": spent(0), "screening": spent(0)}
    (found,) = lift_per_cost([row("generated", 0.1)], SOURCES, costs, 10)
    assert found["per_unit"] is found["ci_low"] is None
    others = [
        *(row("generated", 0.1, k=3), row("generated", 0.1, slice="items:tail"), row("itemcf", 0.1)),
        *(row("generated", 0.1, metric="mrr"), row("generated", 0.1) | {"lift": None}),
    ]
    assert lift_per_cost(others, SOURCES, costs, 10) == []


def test_a_lift_to_nothing_has_no_interval():
    (found,) = lift_per_cost([row("generated", -1.0)], SOURCES, {"next_item": spent(0, 1.0)}, 10)
    assert found["per_unit"] == -1 and found["ci_low"] is None
