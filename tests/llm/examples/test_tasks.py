"""Tasks: every answer is what the user did, nothing held out is taught, and negatives are what the recipe asks for."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.llm.examples.tasks import History, Tasks
from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.example import Example
from longtail.llm.prompts.hints import Hints
from longtail.llm.small_llama import build_tokenizer
from longtail.recipe import Tuning
from longtail.recommenders.models.itemcf import ItemCF
from longtail.recommenders.models.itemcf import ItemCFSection as Section
from tests.recommenders.conftest import interactions

TASKS = ["next_item", "yes_no", "id_list", "preference", "ranking"]
HISTORIES = st.lists(st.integers(1, 39), unique=True, max_size=14).map(
    lambda items: np.array(items, np.int32)
)
HELD_OUT = 0
"""An item that no history of these tests has in train."""


@pytest.fixture(scope="module")
def prompts(catalogue) -> Prompts:
    return Prompts(build_tokenizer(catalogue, "token"), catalogue, "token", history=5, context=400)


@pytest.fixture(scope="module")
def hints() -> Hints:
    rng = np.random.default_rng(0)
    train = interactions([rng.permutation(np.arange(1, 40))[:8].tolist() for _ in range(30)], 40)
    similarity = ItemCF("itemcf", Section()).fit(train).similarity
    return Hints(train.indptr, train.items, train.matrix.T.tocsr(), similarity)


def tasks(prompts: Prompts, catalogue, seed: int = 3, **section: object) -> Tasks:
    return Tasks(prompts, Tuning(tasks=dict.fromkeys(TASKS, 1.0), **section), catalogue, seed)


def spelt(prompts: Prompts, tokens: np.ndarray) -> list[int]:
    """The items in a text, in order; with this rendering one token is one item."""
    codes = {int(token): item for item, token in enumerate(prompts.items.tokens)}
    return [codes[token] for token in tokens.tolist() if token in codes]


def answer(prompts: Prompts, example: Example) -> list[int]:
    return spelt(prompts, example.tokens[example.weights > 0])


@settings(max_examples=60)
@given(items=HISTORIES, seed=st.integers(0, 9), task=st.sampled_from(TASKS))
def test_answers_are_the_users_own_and_no_prompt_or_target_is_held_out(
    prompts, catalogue, hints, items, seed, task
):
    writer = tasks(prompts, catalogue, seed, candidates=6)
    for example in writer.train(task, History(2, items), hints):
        assert len(example.tokens) and not example.weights[0]
        assert set(answer(prompts, example)) <= set(items.tolist())
        if task in ("next_item", "id_list"):
            assert HELD_OUT not in spelt(prompts, example.tokens)


@settings(max_examples=40)
@given(items=HISTORIES, task=st.sampled_from(TASKS))
def test_the_same_seed_and_user_give_the_same_examples(prompts, catalogue, hints, items, task):
    def made(seed: int) -> list[tuple[list[int], list[float]]]:
        examples = tasks(prompts, catalogue, seed).train(task, History(2, items), hints)
        return [(example.tokens.tolist(), example.weights.tolist()) for example in examples]

    assert made(5) == made(5)


@settings(max_examples=40)
@given(items=HISTORIES, count=st.integers(1, 3), task=st.sampled_from(["yes_no", "preference"]))
def test_every_step_has_its_negatives_of_each_kind_outside_the_history(
    prompts, catalogue, items, count, task
):
    """Hard ones are given by the generator; here item 39 - step, or none where the user took that."""
    hard = np.array([[39 - step] * count for step in range(1, len(items) + 1)], np.int32).reshape(-1, count)
    hard[np.isin(hard, items)] = -1
    writer = tasks(prompts, catalogue, negatives=["random", "popular", "hard"], negatives_per_positive=count)
    examples = list(writer.train(task, History(2, items, hard), None))
    steps = max(len(items) - 1, 0)
    none = int((hard[:steps] < 0).sum())
    others = 3 * count * steps - none
    if task == "yes_no":
        said = Counter(int(example.tokens[-1]) for example in examples)
        assert said == Counter({prompts.yes: steps, prompts.no: others}) - Counter()
    else:
        assert len(examples) == others
    for example in examples:
        asked = spelt(prompts, example.tokens)
        shown, pair = (asked[:-1], asked[-1:]) if task == "yes_no" else (asked[:-2], asked[-2:])
        step = items.tolist().index(shown[-1]) + 1
        taken = {prompts.yes: [0], prompts.no: [], prompts.a: [0], prompts.b: [1]}[int(example.tokens[-1])]
        assert shown == items[max(0, step - 5) : step].tolist()
        for place, item in enumerate(pair):
            assert item == items[step] if place in taken else item not in items


def test_either_order_of_a_pair_is_as_likely(prompts, catalogue):
    writer = tasks(prompts, catalogue)
    firsts = [
        int(example.tokens[-1]) == prompts.a
        for user in range(60)
        for example in writer.train("preference", History(user, np.arange(1, 12, dtype=np.int32)), None)
    ]
    assert len(firsts) == 600 and 0.42 < np.mean(firsts) < 0.58  # four standard errors


def test_popular_negatives_follow_the_counts_and_random_ones_do_not(prompts, catalogue):
    """In this catalogue item i was taken i times; item 0 never."""
    counts = {}
    for kind in ("popular", "random"):
        writer = tasks(prompts, catalogue, negatives=kind, negatives_per_positive=5)
        counts[kind] = Counter(
            spelt(prompts, example.tokens)[-1]
            for user in range(60)
            for example in writer.train("yes_no", History(user, np.arange(10, 16, dtype=np.int32)), None)
            if example.tokens[-1] == prompts.no
        )
    halves = {kind: sum(n for item, n in found.items() if item >= 28) for kind, found in counts.items()}
    total = {kind: sum(found.values()) for kind, found in counts.items()}
    expected = sum(range(28, 40)) / (sum(range(40)) - sum(range(10, 16)))
    assert abs(halves["popular"] / total["popular"] - expected) < 0.05 and 0 not in counts["popular"]
    assert abs(halves["random"] / total["random"] - 12 / 34) < 0.05 and 0 in counts["random"]


def test_a_user_who_took_everything_has_no_negatives(prompts, catalogue):
    writer = tasks(prompts, catalogue)
    everything = History(0, np.arange(40, dtype=np.int32))
    assert {int(example.tokens[-1]) for example in writer.train("yes_no", everything, None)} == {prompts.yes}
    assert not list(writer.train("preference", everything, None))


@settings(max_examples=40)
@given(items=HISTORIES, splits=st.integers(1, 5))
def test_a_list_is_split_in_two_parts_that_make_up_the_history(prompts, catalogue, items, splits):
    """LLM4IDRec: the split point lies in 1..n-2, so the prompt has at least one item and the answer at least two."""
    examples = list(tasks(prompts, catalogue, splits=splits).train("id_list", History(2, items), None))
    assert len(examples) == (splits if len(items) >= 3 else 0)
    for example in examples:
        both, rest = spelt(prompts, example.tokens), answer(prompts, example)
        assert sorted(both) == sorted(items) and 2 <= len(rest) <= len(items) - 1
        assert example.tokens[-1] == prompts.end and not example.cut


def test_a_list_names_the_user_and_a_ranking_leaves_out_the_recommender_if_asked_to(
    prompts, catalogue, hints
):
    items, told = np.arange(1, 9, dtype=np.int32), {}
    for numbered in (False, True):
        writer = tasks(prompts, catalogue, user_number=numbered, prior_list=not numbered)
        for task in ("id_list", "ranking"):
            made = [*writer.train(task, History(23, items), hints)]
            made += writer.validation(task, History(23, items), 20, hints)
            told[task, numbered] = [prompts.tokenizer.decode(one.tokens) for one in made]
    assert all(" u23:" in text for text in told["id_list", True])
    assert not any(" u23:" in text for text in told["id_list", False])
    assert all("Ranked by a recommender" in text for text in told["ranking", False])
    assert not any("Ranked by a recommender" in text for text in told["ranking", True])
    assert all("similar user" in text for text in told["ranking", True])


def test_split_points_and_order_differ_between_splits(prompts, catalogue):
    writer = tasks(prompts, catalogue, splits=50)
    items = np.arange(1, 7, dtype=np.int32)
    answers = [answer(prompts, one) for one in writer.train("id_list", History(2, items), None)]
    assert {len(one) for one in answers} == {2, 3, 4, 5} and len(set(map(tuple, answers))) > 30


def test_a_list_longer_than_the_context_is_a_random_part_and_its_answer_is_whole(catalogue):
    long = Prompts(build_tokenizer(catalogue, "title"), catalogue, "title", history=5, context=150)
    writer = tasks(long, catalogue, splits=8)
    items = np.arange(1, 40, dtype=np.int32)
    examples = list(writer.train("id_list", History(2, items), None))
    assert len(examples) == 8 and all(example.cut for example in examples)
    assert all(len(one.tokens) <= 151 and one.tokens[-1] == long.end for one in examples)


@settings(max_examples=40)
@given(items=HISTORIES, candidates=st.integers(1, 12))
def test_a_ranking_asks_for_the_last_items_in_the_order_they_were_taken(
    prompts, catalogue, hints, items, candidates
):
    examples = list(
        tasks(prompts, catalogue, candidates=candidates).train("ranking", History(2, items), hints)
    )
    assert len(examples) == (1 if len(items) >= 2 else 0)
    for example in examples:
        ranked = answer(prompts, example)
        asked = spelt(prompts, example.tokens[: -len(ranked) - 1])
        length = max(2, candidates)
        given_, hint = asked[-length:], asked[-2 * length : -length]
        before = items[: -len(ranked)]
        assert ranked == items[-len(ranked) :].tolist() and len(ranked) <= length // 2
        assert len(set(given_)) == length and sorted(hint) == sorted(given_)
        assert set(given_) & set(items.tolist()) == set(ranked)
        assert asked[: len(before[-5:])] == before[-5:].tolist()


def test_long_tail_targets_weigh_more_and_only_in_next_item(prompts, catalogue):
    """Items below 10 are the tail."""
    items = np.array([20, 5, 30, 6], np.int32)
    writer = tasks(prompts, catalogue, tail_weight=4.0)
    (example,) = writer.train("next_item", History(2, items))
    assert example.weights[-3:].tolist() == [4.0, 1.0, 4.0]
    assert {float(one.weights.max()) for one in writer.train("yes_no", History(2, items))} == {1.0}


def test_task_weights_multiply_and_loss_all_teaches_the_prompt_too(prompts, catalogue):
    items = np.array([20, 5, 30, 6], np.int32)
    section = Tuning(tasks={"next_item": 0.5}, loss="all", tail_weight=4.0)
    (example,) = Tasks(prompts, section, catalogue, 0).train("next_item", History(2, items))
    assert example.weights.tolist() == [0.0] + [0.5] * (len(example.tokens) - 4) + [2.0, 0.5, 2.0]


@settings(max_examples=40)
@given(items=HISTORIES.filter(len), task=st.sampled_from(TASKS))
def test_validation_asks_for_the_validation_item_with_the_weight_of_the_task(
    prompts, catalogue, hints, items, task
):
    """Neither the tail's weight nor `loss: all` counts: mean losses of recipes with one task compare."""
    section = Tuning(tasks=dict.fromkeys(TASKS, 3.0), loss="all", tail_weight=9.0, candidates=6)
    writer = Tasks(prompts, section, catalogue, 3)
    examples = list(writer.validation(task, History(2, items), HELD_OUT, hints))
    assert len(examples) == (2 if task == "yes_no" else 1)
    for example in examples:
        taught = example.tokens[example.weights > 0].tolist()
        assert len(taught) == 1 and example.weights[-1] == example.weights.sum() == 3.0
        asked = spelt(prompts, example.tokens[:-1])
        if task in ("next_item", "id_list", "ranking"):
            assert spelt(prompts, example.tokens[-1:]) == [HELD_OUT]
            assert asked.count(HELD_OUT) == (2 if task == "ranking" else 0)  # the hint and the candidates
    if task == "preference":
        first, second = asked[-2:]
        assert (first == HELD_OUT) == (taught == [prompts.a]) and (second == HELD_OUT) == (
            taught == [prompts.b]
        )
