"""Folding, filtering and splitting of user blocks, against plain Python, interaction by interaction."""

from collections import defaultdict
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data.cold_items import part_of_items
from longtail.data.histories import ENCODED, drop, fold, number, recode, split, split_counts, with_more_known
from longtail.recipe import Dataset, Repeats
from longtail.schema import HISTORIES

N_ITEMS = 6
interactions = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "ü"]), st.integers(0, N_ITEMS - 1), st.integers(-3, 5)),
    max_size=40,
)
Log = list[tuple[str, int, int]]


def encoded(log: Log) -> pa.Table:
    """Rows in a shuffled order, as a shuffle delivers them: only `row` tells the order of the file."""
    rows = [(*entry, row, None) for row, entry in enumerate(log)]
    rows = [rows[place] for place in np.random.default_rng(0).permutation(len(rows))]
    return pa.table([list(column) for column in zip(*rows, strict=True)] or [[]] * 5, schema=ENCODED)


def expected(log: Log, repeats: Repeats = "first") -> dict[str, list[tuple[int, int]]]:
    """user -> (time, item) in order of time and file."""
    histories: dict[str, list[tuple[int, int]]] = {}
    for user, item, time in sorted(log, key=lambda entry: entry[2]):
        history = histories.setdefault(user, [])
        met = [entry for entry in history if entry[1] == item]
        if met and repeats == "last":
            history.remove(met[0])
        if not met or repeats != "first":  # `weight` is made of all by split
            history.append((time, item))
    return histories


def pairs(histories: pa.Table) -> dict[str, list[tuple[int, int]]]:
    return {
        row["user_id"]: list(zip(row["timestamps"], row["items"], strict=True))
        for row in histories.to_pylist()
    }


@given(interactions, st.sampled_from(get_args(Repeats)))
def test_fold_keeps_the_first_the_last_or_all_of_a_pair_in_order_of_time_then_file(
    log: Log, repeats: Repeats
) -> None:
    folded = fold(encoded(log), repeats)
    assert pairs(folded) == expected(log, repeats)
    assert folded["user_id"].to_pylist() == sorted(expected(log), key=str.encode)


@given(interactions, st.sets(st.integers(0, N_ITEMS - 1)), st.integers(1, 4))
def test_drop_takes_items_out_and_then_short_users(log: Log, out: set[int], least: int) -> None:
    items_out = np.isin(np.arange(N_ITEMS), list(out))
    left = {
        user: [(time, item) for time, item in history if item not in out]
        for user, history in expected(log).items()
    }
    assert pairs(drop(fold(encoded(log)), items_out, least)) == {
        user: history for user, history in left.items() if len(history) >= least
    }


@given(interactions)
def test_leave_one_out_holds_back_the_last_two_of_three_or_more(log: Log) -> None:
    for row in split(fold(encoded(log)), Dataset(), None).to_pylist():
        n = len(row["items"])
        assert (row["train_end"], row["valid_end"]) == ((n - 2, n - 1) if n >= 3 else (n, n))


@given(interactions, st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.integers(0, 5))
def test_cold_split_holds_back_all_of_the_cold_items(log: Log, share: float, seed: int) -> None:
    """Against a loop: what is held out of a user's warm items, and that a cold item is in one part only."""
    parts = part_of_items(np.arange(N_ITEMS), share, seed)
    for row in split(fold(encoded(log)), Dataset(split="cold", cold_share=share), None, seed).to_pylist():
        history = [item for _, item in expected(log)[row["user_id"]]]
        warm = [item for item in history if parts[item] == 0]
        kept = len(warm) - 2 if len(warm) >= 3 else len(warm)
        train, validation, test = (
            row["items"][: row["train_end"]],
            row["items"][row["train_end"] : row["valid_end"]],
            row["items"][row["valid_end"] :],
        )
        assert train == warm[:kept]
        assert sorted(validation) == sorted(
            warm[kept : kept + 1] + [one for one in history if parts[one] == 1]
        )
        assert sorted(test) == sorted(warm[kept + 1 :] + [one for one in history if parts[one] == 2])


@given(interactions, st.integers(0, 5))
def test_what_is_known_later_is_in_order_of_time_again(log: Log, seed: int) -> None:
    dataset = Dataset(split="cold", cold_share=0.3)
    first = number(split(fold(encoded(log)), dataset, None, seed), defaultdict(int))
    later = with_more_known(first, dataset, whole=False)
    for before, after in zip(first.to_pylist(), later.to_pylist(), strict=True):
        known = before["valid_end"]
        assert after["train_end"] == after["valid_end"] == known
        pairs_of = [list(zip(row["timestamps"], row["items"], strict=True)) for row in (before, after)]
        assert (
            sorted(pairs_of[0][:known]) == sorted(pairs_of[1][:known])
            and pairs_of[0][known:] == pairs_of[1][known:]
        )
        assert after["timestamps"][:known] == sorted(after["timestamps"][:known])
    whole = with_more_known(first, dataset, whole=True)
    assert pairs(whole) == expected(log) or any(
        len(set(t for t, _ in own)) < len(own) for own in expected(log).values()
    )


def test_shares_of_cold_items_and_draws_are_as_asked() -> None:
    items = np.arange(100_000)
    first, second = (part_of_items(items, 0.1, seed) for seed in (1, 2))
    for part, share in ((1, 0.05), (2, 0.1)):
        assert abs((first == part).mean() - share) < 0.005
        assert abs(((first == part) & (second == part)).mean() - share**2) < 0.002, "draws are independent"
    more = part_of_items(items, 0.2, 1)
    assert (more[first == 2] == 2).all(), "a larger share keeps what a smaller one draws"


@given(interactions, st.integers(-4, 6), st.integers(0, 5))
def test_temporal_split_cuts_all_users_at_the_same_times(log: Log, first: int, later: int) -> None:
    cuts = (first, first + later)
    for row in split(fold(encoded(log)), Dataset(split="temporal"), cuts).to_pylist():
        train, valid, test = np.split(np.array(row["timestamps"]), [row["train_end"], row["valid_end"]])
        assert (train < cuts[0]).all() and (test >= cuts[1]).all()
        assert ((valid >= cuts[0]) & (valid < cuts[1])).all()


@given(interactions, st.sampled_from(["leave-one-out", "temporal"]), st.integers(-4, 6), st.integers(0, 5))
def test_repeats_are_kept_in_training_alone_and_change_nothing_that_is_held_out(
    log: Log, kind: str, first: int, later: int
) -> None:
    cuts = (first, first + later)
    once, every = (
        split(fold(encoded(log), repeats), Dataset(split=kind, repeats=repeats), cuts).to_pylist()
        for repeats in ("first", "all")
    )
    for usual, row in zip(once, every, strict=True):
        train, held_out = row["items"][: row["train_end"]], row["items"][row["train_end"] :]
        assert held_out == usual["items"][usual["train_end"] :]
        assert row["valid_end"] - row["train_end"] == usual["valid_end"] - usual["train_end"]
        assert list(dict.fromkeys(train)) == usual["items"][: usual["train_end"]]
        assert row["timestamps"] == sorted(row["timestamps"])
        end = cuts[0] if kind == "temporal" else row["timestamps"][row["train_end"]] if held_out else 9
        early = [
            item
            for user, item, time in sorted(log, key=lambda one: one[2])
            if user == row["user_id"] and time < end
        ]
        assert train[: len(early)] == early, "all that was before what is held out trains"


@given(interactions)
def test_split_counts_are_those_of_the_rows(log: Log) -> None:
    histories = split(fold(encoded(log)), Dataset(sparse_max=1, active_min=3), None)
    counts = split_counts(histories, N_ITEMS)
    train = [item for row in histories.to_pylist() for item in row["items"][: row["train_end"]]]
    np.testing.assert_array_equal(counts["train_count"], np.bincount(train, minlength=N_ITEMS))
    everything, *parts = counts["interactions"]
    assert everything == sum(parts) == sum(map(len, expected(log).values()))
    assert counts["users"].sum() == len(histories)


@pytest.mark.parametrize(
    ("n", "name"), [(1, "sparse"), (7, "sparse"), (8, "regular"), (21, "regular"), (22, "active")]
)
def test_user_slices_go_by_training_length(n: int, name: str) -> None:
    """Leave-one-out holds two of n back; the defaults are sparse to 5 and active from 20."""
    histories = fold(encoded([("a", item, item) for item in range(n)]))
    assert split(histories, Dataset(), None)["slice"].to_pylist() == [name]


def test_recode_and_number_change_names_and_nothing_else() -> None:
    histories = split(fold(encoded([("a", 0, 1), ("b", 5, 1), ("b", 0, 2)])), Dataset(), None)
    renamed = recode(histories.select(["user_id", "items", "timestamps"]), np.array([9, 0, 0, 0, 0, 7]))
    assert renamed["items"].to_pylist() == [[9], [7, 9]]
    coded = number(histories, {"a": 40})
    assert coded.schema == HISTORIES and coded["user"].to_pylist() == [40, 41]


@given(interactions, st.floats(0, 1), st.integers(0, 2**40))
def test_a_published_split_draws_validation_from_train_and_leaves_test_alone(
    log: Log, share: float, seed: int
) -> None:
    log = [(user, item, int(time > 2)) for user, item, time in log]
    folded = fold(encoded(log))
    dataset = Dataset(source="csv", split="published", valid_share=share)
    for row, before in zip(split(folded, dataset, None, seed).to_pylist(), folded.to_pylist(), strict=True):
        train, valid, test = (
            part.tolist() for part in np.split(row["items"], [row["train_end"], row["valid_end"]])
        )
        given_train = [
            item for item, part in zip(before["items"], before["timestamps"], strict=True) if part == 0
        ]
        assert [item for item in given_train if item not in valid] == train, "train keeps its order"
        assert [item for item in given_train if item in valid] == valid
        assert test == before["items"][len(given_train) :]
        assert len(valid) == min(int(share * len(given_train) + 0.5), max(len(given_train) - 1, 0))
        assert row["timestamps"] == before["timestamps"]


def test_the_draw_of_validation_depends_on_seed_and_user_but_not_on_the_block() -> None:
    users = [f"u{user}" for user in range(200)]
    folded = fold(encoded([(user, item, 0) for user in users for item in range(N_ITEMS)]))
    dataset = Dataset(source="csv", split="published", valid_share=1 / N_ITEMS)

    def drawn(histories: pa.Table, seed: int) -> list[int]:
        return [row["items"][-1] for row in split(histories, dataset, None, seed).to_pylist()]

    whole = drawn(folded, 1)
    assert drawn(folded.slice(0, 70), 1) + drawn(folded.slice(70), 1) == whole
    assert drawn(folded, 2) != whole
    counts = np.bincount(whole, minlength=N_ITEMS)
    assert counts.min() > 200 / N_ITEMS / 2, f"items are not drawn evenly: {counts}"


@given(interactions, st.sampled_from(["leave-one-out", "temporal"]), st.integers(-4, 6), st.integers(0, 5))
def test_weights_are_the_repeats_that_train(log: Log, kind: str, first: int, later: int) -> None:
    cuts = (first, first + later)
    once, every, weighed = (
        split(fold(encoded(log), repeats), Dataset(split=kind, repeats=repeats), cuts)
        for repeats in ("first", "all", "weight")
    )
    counts = split_counts(weighed, N_ITEMS)
    assert weighed.drop_columns("strengths").equals(once)
    assert counts["repeats"] == split_counts(every, N_ITEMS)["repeats"]
    for row, whole in zip(weighed.to_pylist(), every.to_pylist(), strict=True):
        train = whole["items"][: whole["train_end"]]
        held_out = len(row["items"]) - row["train_end"]
        own = row["items"][: row["train_end"]]
        assert row["strengths"] == [train.count(item) for item in own] + [1] * held_out
    numbered = number(weighed, {weighed["user_id"][0].as_py(): 3} if weighed.num_rows else {})
    assert numbered["strengths"].to_pylist() == weighed["strengths"].to_pylist()
