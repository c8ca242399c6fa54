"""The pipeline's own parts: a request is known by everything that its answer depends on and by nothing else, and the sums of
the manifest are those of the answers."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from app.augment.pipeline import _drawn
from app.augment.publishing import _count
from app.augment.strategies.base import Asked, requests
from app.schema import HISTORIES, OUTCOMES, REQUESTS
from tests.augment.conftest import answers

numbers = st.lists(st.integers(0, 5), max_size=4)
prompts = st.lists(numbers, min_size=1, max_size=3)
question = st.tuples(prompts, numbers, numbers)


@dataclass(frozen=True)
class Fixed:
    """A strategy that asks everybody the same."""

    asked: Any

    def ask(self, user: int, history: np.ndarray, rng: np.random.Generator) -> list[Asked]:
        written, shown, options = self.asked
        return [Asked([np.array(one, np.int32) for one in written], np.array(shown, np.int32), options)]


class Throws:
    """A strategy that shows what its random numbers are."""

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


def the_id(asked: Any, user: int = 3, salt: str = "salt", held_out: int = 7) -> str:
    table = requests(histories([user], [[1, 2]], [[held_out]]), Fixed(asked), salt, seed=0)
    (name,) = table["request_id"].to_pylist()
    return name


@given(one=question, other=question)
def test_an_id_depends_on_each_prompt_what_is_shown_and_each_option(one, other):
    """Also on where one list ends and the next begins."""
    assert (the_id(one) == the_id(other)) == (one == other)


def test_an_id_depends_on_user_and_salt_and_not_on_what_is_held_out():
    asked = [[1, 2]], [3], [4]
    assert len({the_id(asked), the_id(asked, user=4), the_id(asked, salt="other")}) == 3
    assert the_id(asked) == the_id(asked, held_out=8)
    assert len({the_id(asked, user=user, salt=salt) for user, salt in ((1, "a"), (11, "a"), (1, "a1"))}) == 3


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
    assert whole["held_out"].to_pylist() == [[9]] * len(asked)
    assert whole["prompts"].to_pylist() == [[train[user]] for user in asked]


def test_another_seed_draws_others():
    batch = histories([0, 1], [[1], [1]], [[2], [2]])
    shown = [requests(batch, Throws(), "salt", seed)["shown"].to_pylist() for seed in (0, 0, 1)]
    assert shown[0] == shown[1] != shown[2] and shown[0][0] != shown[0][1]


@given(n_users=st.integers(1, 50), count=st.integers(1, 60), seed=st.integers(0, 9))
def test_as_many_users_are_drawn_and_more_of_them_are_the_same_and_others(n_users, count, seed):
    """Who asks about more users later does not ask again about those of before."""
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
