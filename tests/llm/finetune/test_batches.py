"""Batches: every example once an epoch, in an order that any worker knows at any step; shares: nothing lost, all busy."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.llm.finetune.batches import Batch, Batches, shares
from longtail.workspace import Workspace
from longtail.workspace.place import Place
from tests.llm.finetune.toys import toy_rows, write_shards

SHARDS = st.lists(st.integers(0, 12), min_size=1, max_size=5)


def folder_of(path: Path | str, shards: list[int]) -> Place:
    """Files of so many examples each; the users are numbered through."""
    rows = toy_rows(sum(shards), seed=len(shards))
    ends = np.cumsum(shards)
    place = Workspace(str(path)) / "train"
    write_shards(place, [rows[end - size : end] for end, size in zip(ends, shards, strict=True)])
    return place


def users(batches: list[Batch]) -> list[list[int]]:
    return [batch.users for batch in batches]


@settings(max_examples=25)
@given(shards=SHARDS, size=st.integers(1, 15), seed=st.integers(0, 5), epoch=st.integers(0, 3))
def test_an_epoch_has_every_example_once_in_full_batches(shards, size, seed, epoch):
    with tempfile.TemporaryDirectory() as path:
        batches = Batches(folder_of(path, shards), size, seed)
        found = list(batches.epoch(epoch))
    rows = sum(shards)
    assert batches.rows == rows
    assert batches.steps == len(found) == -(-rows // size)
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    written = toy_rows(rows, seed=len(shards))
    assert sorted(user for batch in found for user in batch.users) == list(range(rows))
    for batch in found:
        assert batch.tokens == sum(len(written[user]["tokens"]) for user in batch.users)
        assert batch.weight == sum(written[user]["weights"][1:].sum() for user in batch.users)
        for user, example in zip(batch.users, batch.examples, strict=True):
            np.testing.assert_array_equal(example.tokens, written[user]["tokens"])
            np.testing.assert_array_equal(example.weights, written[user]["weights"])


@settings(max_examples=25)
@given(shards=SHARDS, size=st.integers(1, 15), epoch=st.integers(0, 3), data=st.data())
def test_an_epoch_begun_at_a_step_is_the_tail_of_the_whole_epoch(shards, size, epoch, data):
    with tempfile.TemporaryDirectory() as path:
        batches = Batches(folder_of(path, shards), size, 0)
        start = data.draw(st.integers(0, batches.steps))
        whole, tail = list(batches.epoch(epoch)), list(batches.epoch(epoch, start))
    assert users(tail) == users(whole[start:])


def test_order_depends_on_seed_and_epoch_alone(tmp_path):
    place = folder_of(tmp_path, [30, 30, 30])
    order = {
        (seed, epoch, copy): users(list(Batches(place, 8, seed).epoch(epoch)))
        for seed in (0, 1)
        for epoch in (0, 1)
        for copy in (0, 1)
    }
    for seed, epoch, _ in order:
        assert order[seed, epoch, 0] == order[seed, epoch, 1]
    assert len({str(one) for one in order.values()}) == 4


def test_an_epoch_mixes_files_and_what_is_in_them(tmp_path):
    """Files are taken in another order each epoch, and no file is read from its first row to its last."""
    place, firsts = folder_of(tmp_path, [40, 40, 40]), set()
    for epoch in range(40):
        order = [user for batch in Batches(place, 8, 0).epoch(epoch) for user in batch.users]
        firsts.add(order[0] // 40)
        for file in range(3):
            assert [user for user in order if user // 40 == file] != list(range(40 * file, 40 * file + 40))
    assert firsts == {0, 1, 2}


@pytest.mark.parametrize("shards", [[0], [0, 5], [5, 0], [0, 0, 7, 0]])
def test_empty_files_are_harmless(tmp_path, shards):
    batches = Batches(folder_of(tmp_path, shards), 2, 0)
    for epoch in range(4):
        found = [user for batch in batches.epoch(epoch) for user in batch.users]
        assert sorted(found) == list(range(sum(shards)))


def test_a_missing_folder_has_no_steps(tmp_path):
    batches = Batches(Workspace(str(tmp_path)) / "validation", 2, 0)
    assert (batches.rows, batches.steps, list(batches.epoch(0))) == (0, 0, [])


@settings(max_examples=200)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    workers=st.integers(1, 5),
    most_tokens=st.integers(1, 200),
)
def test_shares_lose_nothing_and_keep_all_workers_equally_busy(lengths, workers, most_tokens):
    dealt = shares(lengths, workers, most_tokens)
    assert all(len(of_workers) == workers for of_workers in dealt)
    passes = [own for of_workers in dealt for own in of_workers]
    assert sorted(place for own in passes for place in own) == list(range(len(lengths)))
    held = [sum(lengths[place] for place in own) for own in passes]
    assert max(held) <= max(most_tokens, *lengths)
    assert max(held) - min(held) <= max(lengths)


def test_a_step_that_fits_is_one_pass():
    assert len(shares([10] * 8, workers=2, most_tokens=40)) == 1
    assert len(shares([10] * 8, workers=2, most_tokens=39)) == 2
