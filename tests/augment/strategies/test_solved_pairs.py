"""Few-shot: solved questions come from the training set alone, and stand before each question as its own form."""

import numpy as np
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.augment.strategies.pairs import PairsSection
from longtail.augment.strategies.solved_pairs import solved_pairs
from longtail.errors import InputError
from longtail.workspace.place import Place
from tests.augment.strategies.conftest import N_ITEMS, SOLVED, asked, histories, prompts_of, strategy_of

HISTORY = [0, 1, 2]
TRAIN = [[0, 1, 2], [3], [4, 5], [6, 7, 8, 9], list(range(N_ITEMS))]
LATER = [[10, 11], [12, 13], [14, 15], [16, 17], []]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Place:
    file = tmp_path_factory.mktemp("histories") / "part.parquet"
    pq.write_table(histories(TRAIN, LATER), file)
    return Place(pafs.LocalFileSystem(), str(file))


@given(count=st.integers(1, 6), seed=st.integers(0, 99))
def test_a_solved_pair_is_the_last_training_item_and_one_that_the_user_never_took(published, count, seed):
    """User 1 has no history before the last item, and user 4 took everything."""
    found = solved_pairs(published, N_ITEMS, count, seed)
    assert len(found) == min(count, 3)
    users = [next(u for u, own in enumerate(TRAIN) if [*pair.history, pair.taken] == own) for pair in found]
    assert len(set(users)) == len(users)
    for user, pair in zip(users, found, strict=True):
        assert pair.other not in TRAIN[user] and pair.other != LATER[user][0], "validation is known too"
    again = solved_pairs(published, N_ITEMS, count, seed)
    assert [pair.taken for pair in again] == [pair.taken for pair in found]


def text(tokens: list[int]) -> str:
    return prompts_of("title").tokenizer.decode(tokens, skip_special_tokens=True)


def test_letters_are_shown_in_turn():
    """If the item taken were always A, an LLM would learn to say A."""
    prompts = prompts_of("title")
    (row,) = asked(strategy_of(PairsSection(shots=2), "title"), [HISTORY]).to_pylist()
    a, b = row["shown"]
    first = prompts.preference(np.array([2, 3]), 4, 9), prompts.a
    second = prompts.preference(np.array([6]), 1, 7), prompts.b
    for prompt, order in zip(row["prompts"], ((a, b), (b, a)), strict=True):
        bare = text(prompts.preference(np.array(HISTORY), *order))
        solved = [text([*question, answer]) for question, answer in (first, second)]
        assert text(prompt) == "\n".join([*solved, bare])


@pytest.mark.parametrize("ask", ["likelihood", "pmi"])
def test_lists_of_others_come_first(ask):
    prompts = prompts_of("title")
    (row,) = asked(strategy_of(PairsSection(ask=ask, shots=2), "title"), [HISTORY]).to_pylist()
    shown = [text(prompts.followed(one.history, one.taken)) for one in SOLVED]
    befores = [np.array(HISTORY), np.array([], int)][: 1 + (ask == "pmi")]
    bare = [text(prompts.followed(before, item)) for item in row["shown"] for before in befores]
    assert [text(prompt) for prompt in row["prompts"]] == ["\n".join([*shown, one]) for one in bare]


def test_an_llm_that_reads_no_titles_cannot_be_shown_examples():
    with pytest.raises(InputError, match=r"shots = 2 .* llm.items: title"):
        strategy_of(PairsSection(shots=2), "token")


def test_examples_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="context"):
        strategy_of(PairsSection(shots=2), "title", prompts=prompts_of("title", context=40))
