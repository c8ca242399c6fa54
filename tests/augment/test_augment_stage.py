"""Parts of the pipeline: the id of a request depends on everything that determines its answer and on nothing else, and sums
are those of the answers."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from longtail.augment.asking import _drawn
from longtail.augment.discriminate import FIRST
from longtail.augment.monitor import Written, written
from longtail.augment.outcomes import _count
from longtail.augment.strategies.strategy import Asked, requests
from longtail.schema import ACCEPTED, DUPLICATE, HISTORIES, NOT_IN_CATALOGUE, OUTCOMES, REQUESTS
from tests.augment.conftest import answered, answers

numbers = st.lists(st.integers(0, 5), max_size=4)
prompts = st.lists(numbers, min_size=1, max_size=3)
question = st.tuples(prompts, numbers, numbers)


@dataclass(frozen=True)
class Fixed:
    """A strategy that asks the same about every user."""

    asked: Any

    def ask(self, user: int, history: np.ndarray, rng: np.random.Generator) -> list[Asked]:
        written, shown, options = self.asked
        return [Asked([np.array(one, np.int32) for one in written], np.array(shown, np.int32), options)]


class Throws:
    """A strategy that shows its random numbers."""

    def ask(self, user: int, history: np.ndarray, rng: np.random.Generator) -> list[Asked]:
        return [Asked([history], rng.integers(0, 1000, 3))]


def histories(users: list[int], train: list[list[int]], held_out: list[list[int]]) -> pa.Table:
    rows = [
        {
            "user": user,
            "user_id": str(user),
            "items": own + later,
            "timestamps": [0] * len(own + later),
            "train_end": len(own),
            "valid_end": len(own),
            "slice": "sparse",
        }
        for user, own, later in zip(users, train, held_out, strict=True)
    ]
    return pa.Table.from_pylist(rows, HISTORIES)


def the_id(
    asked: Any, user: int = 3, salt: str = "salt", train: list[int] | None = None, later: int = 7
) -> str:
    table = requests(histories([user], [train or [1, 2]], [[later]]), Fixed(asked), salt, seed=0)
    (name,) = table["request_id"].to_pylist()
    return name


@given(one=question, other=question)
def test_an_id_depends_on_the_prompts_and_the_options_alone(one, other):
    """Not on the shown items: the code of a candidate may change with the data."""
    same = (one[0], one[2]) == (other[0], other[2])
    assert (the_id(one) == the_id(other)) == same


def test_an_id_knows_nothing_of_held_out_items_and_of_what_the_prompt_leaves_out():
    asked = [[1, 2]], [3], [4]
    assert len({the_id(asked), the_id(asked, user=4), the_id(asked, salt="other")}) == 3
    assert the_id(asked) == the_id(asked, later=8) == the_id(asked, train=[9, 1, 2])


def test_a_user_whose_code_moves_is_asked_the_same():
    """New users come before it in the order of ids. Failed before: the code was part of the request's id."""
    own, moved = (histories([user], [[1, 2]], [[7]]) for user in (3, 4))
    moved = moved.set_column(1, "user_id", own["user_id"])
    asked = Fixed(([[1, 2]], [3], [4]))
    found = [requests(batch, asked, "salt", 0).drop_columns("user") for batch in (own, moved)]
    assert found[0].equals(found[1])


def test_requests_that_the_context_makes_equal_are_one():
    class Twice(Fixed):
        def ask(self, *about: Any) -> list[Asked]:
            return 2 * super().ask(*about)

    assert len(requests(histories([3], [[1]], [[2]]), Twice(([[1]], [], [])), "salt", 0)) == 1


@given(train=st.lists(numbers, min_size=1, max_size=6), cut=st.integers(0, 6), seed=st.integers(0, 3))
def test_a_users_requests_do_not_depend_on_the_batch(train, cut, seed):
    batch = histories(list(range(len(train))), train, [[9]] * len(train))
    whole = requests(batch, Throws(), "salt", seed)
    assert whole.schema == REQUESTS
    parts = [requests(part, Throws(), "salt", seed) for part in (batch.slice(0, cut), batch.slice(cut))]
    assert pa.concat_tables(parts).equals(whole)
    asked = [user for user, own in enumerate(train) if own]
    assert whole["user"].to_pylist() == asked, "nobody without training history"
    assert whole["history"].to_pylist() == [train[user] for user in asked]
    assert whole["prompts"].to_pylist() == [[train[user]] for user in asked]


def test_another_seed_draws_others():
    batch = histories([0, 1], [[1], [1]], [[2], [2]])
    shown = [requests(batch, Throws(), "salt", seed)["shown"].to_pylist() for seed in (0, 0, 1)]
    assert shown[0] == shown[1] != shown[2] and shown[0][0] != shown[0][1]


@given(n_users=st.integers(1, 50), count=st.integers(1, 60), seed=st.integers(0, 9))
def test_as_many_users_are_drawn_and_more_of_them_are_the_same_and_others(n_users, count, seed):
    """If more users are asked about later, the earlier users are among them and are not asked about again."""
    drawn, more = (_drawn(seed, n_users, number) for number in (count, count + 5))
    assert drawn.sum() == min(n_users, count) and (more | ~drawn).all()


outcome = st.sampled_from(OUTCOMES)
row = st.fixed_dictionaries(
    {
        "questions": st.integers(0, 3),
        "judge_questions": st.integers(0, 3),
        "prompt_tokens": st.integers(0, 9),
        "output_tokens": st.integers(0, 9),
        "judge_tokens": st.integers(0, 9),
        "error": st.sampled_from([None, "boom"]),
        "proposals": st.lists(st.fixed_dictionaries({"outcome": outcome}), max_size=4),
    }
)


@given(rows=st.lists(row, max_size=5))
def test_counts_add_up(rows):
    (counted,) = _count(answers(rows)).to_pylist()
    outcomes = Counter(one["outcome"] for row in rows for one in row["proposals"])
    assert {name: counted[name] for name in OUTCOMES} == {name: outcomes[name] for name in OUTCOMES}
    assert counted["proposals"] == sum(outcomes.values())
    assert (counted["requests"], counted["errors"]) == (
        len(rows),
        sum(row["error"] is not None for row in rows),
    )
    for name in ("questions", "judge_questions", "prompt_tokens", "output_tokens", "judge_tokens"):
        assert counted[name] == sum(row[name] for row in rows)


proposal = st.fixed_dictionaries(
    {
        "item": st.one_of(st.none(), st.integers(0, 9)),
        "outcome": st.sampled_from([None, ACCEPTED, DUPLICATE, NOT_IN_CATALOGUE]),
    }
)
answer = st.fixed_dictionaries(
    {
        "questions": st.integers(1, 3),
        "prompt_tokens": st.integers(0, 50),
        "output_tokens": st.integers(0, 9),
        "seconds": st.sampled_from([0.5, 0.25]),
        "error": st.sampled_from([None, "boom"]),
        "proposals": st.lists(proposal, max_size=4),
    }
)


@given(rows=st.lists(answer, min_size=1, max_size=6), cut=st.integers(0, 6), judged=st.booleans())
def test_what_is_written_adds_up_however_it_is_split(rows, cut, judged):
    table = answered(rows)
    if judged:
        costs = ("questions", "prompt_tokens", "output_tokens", "seconds", "error")
        table = table.rename_columns([FIRST + one if one in costs else one for one in table.column_names])
        for name, value in (("prompt_tokens", 5), ("output_tokens", 1), ("seconds", 0.125)):
            table = table.append_column(name, pa.array([value] * len(rows)))
        table = table.append_column("asked", pa.array([[]] * len(rows)))
    parts = [written(part, asked=True).to_pylist()[0] for part in (table.slice(0, cut), table.slice(cut))]
    total = Written(**parts[0]) + Written(**parts[1])
    proposals = [one for row in rows for one in row["proposals"]]
    sums = {key: sum(row[key] for row in rows) for key in ("questions", "prompt_tokens", "output_tokens")}
    assert vars(total) == sums | {
        "requests": len(rows),
        "errors": sum(row["error"] is not None for row in rows),
        "useless": sum(not [one for one in row["proposals"] if one["item"] is not None] for row in rows),
        "judge_tokens": 6 * len(rows) * judged,
        "seconds": sum(row["seconds"] for row in rows) + 0.125 * len(rows) * judged,
        "proposals": len(proposals),
        "usable": sum(one["outcome"] in (None, ACCEPTED) for one in proposals),
    }
    if judged:
        assert vars(Written(**written(table, asked=False).to_pylist()[0])) == vars(
            Written(requests=len(rows), judge_tokens=6 * len(rows), seconds=0.125 * len(rows))
        ), "the strategy's own LLM was asked long ago"
