"""Assignment of users to arms: the shares hold, and nobody moves without need."""

from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.recipe import Serving
from longtail.serving.arms import Arms

USERS = [f"u{number}" for number in range(2000)]
SIGMAS = 5.5  # one in 25 million


def off(seen: int, share: float, n: int = len(USERS)) -> float:
    """How many standard deviations a count is away from its share."""
    return abs(seen - n * share) / max((n * share * (1 - share)) ** 0.5, 1.0)


PARTS = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def shares_of(parts: list[int]) -> dict[str, float]:
    return {f"arm{number}": part / sum(parts) for number, part in enumerate(parts)}


SHARES = PARTS.map(shares_of)
TWO_SHARES = PARTS.flatmap(
    lambda old: st.tuples(st.just(old), st.lists(st.integers(1, 9), min_size=len(old), max_size=len(old)))
).map(lambda both: [shares_of(parts) for parts in both])
"""The shares of the same arms before and after."""


@settings(max_examples=15)
@given(SHARES, st.text(max_size=8))
def test_the_shares_hold_for_every_salt(shares: dict[str, float], salt: str) -> None:
    arms = Arms(shares, salt)
    found = [arms.of(user) for user in USERS]
    assert all(off(found.count(arm), share) < SIGMAS for arm, share in shares.items())


@settings(max_examples=15)
@given(SHARES, st.integers(1, 9))
def test_a_new_arm_takes_its_share_and_moves_nobody_else(shares: dict[str, float], part: int) -> None:
    new = part / 20
    grown = {arm: share * (1 - new) for arm, share in shares.items()} | {"new": new}
    before, after = Arms(shares, "s"), Arms(grown, "s")
    moved = [(before.of(user), after.of(user)) for user in USERS]
    assert {to for was, to in moved if was != to} <= {"new"}
    assert off(sum(was != to for was, to in moved), new) < SIGMAS


@settings(max_examples=15)
@given(TWO_SHARES)
def test_users_move_only_to_arms_that_grew_in_proportion(both: list[dict[str, float]]) -> None:
    old, new = both
    before, after = Arms(old, "s"), Arms(new, "s")
    for user in USERS[:1000]:
        was, to = before.of(user), after.of(user)
        assert was == to or new[to] / old[to] > new[was] / old[was]


@settings(max_examples=15)
@given(TWO_SHARES)
def test_not_many_more_move_than_must(both: list[dict[str, float]]) -> None:
    """Exponential clocks move at most 2 TV / (1 + TV) of the users, where TV must move: the best without a memory (Bavarian
    et al., arXiv 1612.01041).
    """
    old, new = both
    must = sum(max(0, new[arm] - old[arm]) for arm in old)
    moved = sum(Arms(old, "s").of(user) != Arms(new, "s").of(user) for user in USERS)
    bound = 2 * must / (1 + must)
    assert moved <= len(USERS) * bound + SIGMAS * (len(USERS) * 0.25) ** 0.5


@settings(max_examples=15)
@given(SHARES, st.randoms())
def test_the_order_of_the_arms_is_of_no_account(shares: dict[str, float], random: object) -> None:
    mixed = list(shares.items())
    random.shuffle(mixed)
    assert all(Arms(shares).of(user) == Arms(dict(mixed)).of(user) for user in USERS[:200])


def test_another_salt_splits_anew() -> None:
    one, two = Arms({"a": 0.5, "b": 0.5}, "1"), Arms({"a": 0.5, "b": 0.5}, "2")
    same = sum(one.of(user) == two.of(user) for user in USERS)
    assert off(same, 0.5) < SIGMAS


def test_assignment_never_changes_between_versions() -> None:
    """Pinned: a release that assigned users anew would end every running test."""
    arms = Arms({"a": 0.5, "b": 0.3, "c": 0.2}, "salt")
    assert "".join(arms.of(f"u{number}") for number in range(24)) == PINNED


PINNED = "caabccbbaaacaaaccbaaaaca"


def test_nobody_without_an_id_is_part_of_a_test() -> None:
    assert Arms({"a": 0.01, "b": 0.99}).of(None) == "a"


def test_arms_of_a_recipe() -> None:
    assert Arms.of_serving(Serving()) == Arms({"default": 1.0})
    two = Serving(arms={"a": {"share": 0.25}, "b": {"share": 0.75}}, salt="x")
    assert Arms.of_serving(two) == Arms({"a": 0.25, "b": 0.75}, "x")
