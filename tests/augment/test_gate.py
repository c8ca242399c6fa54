"""The gate's pairs, scores and words: the item taken against one of its kind that the user does not know."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.augment.gate import logits, text_lead, told
from longtail.augment.strategies.pairs import PairsSection
from longtail.augment.validation_pairs import PAIRS, together, validation_pairs
from longtail.data.item_words import item_words, tf_idf
from longtail.schema import HISTORIES
from longtail.text.item_texts import ItemTexts
from longtail.text.text_similarity import TextSimilarity
from longtail.workspace.place import Place
from tests.augment.strategies.conftest import (
    COLD,
    N_ITEMS,
    answered,
    asked,
    options,
    prompts_of,
    store,
    strategy_of,
)

WARM = np.arange(COLD, dtype=np.int32)
ALL_COLD = np.arange(COLD, N_ITEMS, dtype=np.int32)
USERS = st.lists(
    st.tuples(
        st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=9), st.integers(0, 5), st.integers(0, 3)
    ),
    min_size=1,
    max_size=8,
)


def file_of(folder: Path, users: list[tuple[list[int], int, int]]) -> Place:
    """Users with their items, the number of training items and the number of validation items after these."""
    rows = [
        {
            "user": user,
            "user_id": f"u{user}",
            "items": items,
            "timestamps": list(range(len(items))),
            "train_end": min(train, len(items)),
            "valid_end": min(train + valid, len(items)),
            "slice": "sparse",
        }
        for user, (items, train, valid) in enumerate(users)
    ]
    place = Place(pafs.LocalFileSystem(), str(folder)) / "a.parquet"
    place.write_table(pa.Table.from_pylist(rows, HISTORIES))
    return place


@settings(max_examples=60)
@given(users=USERS, seed=st.integers(0, 9), cold=st.booleans())
def test_every_validation_item_is_in_one_pair(tmp_path_factory, users, seed, cold):
    pool = ALL_COLD if cold else WARM
    file = file_of(tmp_path_factory.mktemp("pairs"), users)
    found = validation_pairs(file, store(), pool, seed)
    expected = {
        (user, item)
        for user, (items, train, valid) in enumerate(users)
        if train
        for item in items[train : train + valid]
    }
    rows = found.to_pylist()
    assert {(row["user"], row["shown"][0]) for row in rows} == expected and len(rows) == len(expected)
    for row in rows:
        items, train, valid = users[row["user"]]
        taken, other = row["shown"]
        assert row["user_id"] == f"u{row['user']}" and row["history"] == items[:train]
        assert other not in items[: train + valid], "what the user took is no counterpart"
        assert (taken >= COLD) == (other >= COLD), "of the same kind"
    inside = [row["shown"][0] in pool for row in rows]
    assert inside == sorted(inside, reverse=True), "those that the strategy asks about come first"
    assert validation_pairs(file, store(), pool, seed).equals(found)


def test_the_pairs_of_all_files_are_drawn_by_lot(tmp_path):
    """No more than PAIRS, and as many of a file as its share of all."""
    rng = np.random.default_rng(0)
    parts = []
    for number in range(2):
        users = [(rng.permutation(COLD)[:6].tolist(), 3, 3) for _ in range(600)]
        parts.append(validation_pairs(file_of(tmp_path / str(number), users), store(), WARM, number))
    found = together(*parts)
    assert len(found) == PAIRS and sum(map(len, parts)) > PAIRS
    assert found.equals(together(*reversed(parts)))
    assert 850 < sum(lot in set(parts[0]["lot"].to_pylist()) for lot in found["lot"].to_pylist()) < 1150


@given(chances=st.lists(st.tuples(st.floats(0.02, 0.98), st.floats(0.02, 0.98)), min_size=1, max_size=5))
def test_the_llm_has_a_score_only_where_both_orders_agree(chances):
    strategy, prompts = strategy_of(PairsSection(), "token"), prompts_of("token")
    rows = asked(strategy, [[user] for user in range(len(chances) + 1)])
    said = [[options([prompts.a, prompts.b], [p, 1 - p]) for p in pair] for pair in chances]
    found = logits(strategy, answered(rows, [None, *said]))
    assert found[0] == 0, "the engine rejected it"
    for score, (first, second) in zip(found[1:], chances, strict=True):
        if min(abs(first - 0.5), abs(second - 0.5)) < 1e-6:
            continue  # a tie, or none, by rounding
        mean = (first + 1 - second) / 2
        agreed = (first > 0.5) == (second < 0.5)
        assert score == pytest.approx(np.log(mean / (1 - mean)) if agreed else 0.0, abs=1e-5)


def test_the_lead_of_a_text_is_that_of_a_loop():
    words = item_words(store())
    weights = tf_idf(words).toarray().astype(float)
    whole = (weights @ weights.T) ** 2
    np.fill_diagonal(whole, 0)
    histories = [np.array(own, np.int32) for own in ([0, 6, 7], [3], [1, 2, 12, 13])]
    taken, other = np.array([12, 9, 0]), np.array([1, 20, 25])
    found = text_lead(TextSimilarity(ItemTexts(words)), histories, taken, other)
    expected = [
        (whole[t, own].sum() - whole[o, own].sum()) / len(own)
        for own, t, o in zip(histories, taken, other, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_gate_is_told_in_one_line():
    counts = {"pairs": 2000, "cold_pairs": 30, "llm": 0.51, "text": 0.76, "adds": 0.002, "adds_error": 0.004}
    line = told(counts | {"passed": False})
    assert line.startswith(
        "did not pass the gate, so its preferences are left out: over 2,000 validation pairs"
    )
    assert (
        "30 of them of cold items" in line and "51.0%" in line and "+0.2 points" in line and "\n" not in line
    )
    assert told(counts | {"passed": True, "cold_pairs": 0}).startswith(
        "passed the gate, so its preferences are asked for"
    )
