"""Prompts: every step of a history is taught exactly once, answers are never cut, held-out items have no way in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.errors import InputError
from longtail.llm.prompts.building import Prompts
from longtail.llm.small_llama import build_tokenizer

RENDERINGS = ["token", "title", "id", "renumbered", "string"]


@pytest.fixture(scope="module")
def tokenizers(catalogue):
    return {rendering: build_tokenizer(catalogue, rendering) for rendering in RENDERINGS}


@pytest.fixture(scope="module", params=RENDERINGS)
def prompts(request, catalogue, tokenizers) -> Prompts:
    return Prompts(tokenizers[request.param], catalogue, request.param, history=6, context=200)


@settings(max_examples=60)
@given(length=st.integers(0, 40), seed=st.integers(0, 99))
def test_every_item_but_the_first_is_a_target_exactly_once(prompts, length, seed):
    items = np.random.default_rng(seed).integers(8, 40, length).astype(np.int32)
    weights = np.arange(1, length + 1, dtype=np.float32)  # tells positions apart
    taught: list[float] = []
    for example in prompts.next_item_examples(items, weights):
        assert len(example.tokens) == len(example.weights) <= prompts.context
        steps = example.weights[example.weights > 0]
        taught.extend(np.unique(steps))
    assert sorted(taught) == list(range(2, length + 1))


def test_a_target_has_half_a_prompt_of_history_before_it(prompts):
    items = np.arange(8, 38, dtype=np.int32)
    for number, example in enumerate(prompts.next_item_examples(items, np.ones(30, np.float32))):
        before = len(example.weights[: np.flatnonzero(example.weights)[0]])
        one_item = len(prompts.items.of(8))
        instruction = len(prompts.next_item(np.empty(0, np.int32)))
        if number:
            assert before >= instruction + 3 * min(one_item, len(prompts.items.of(9)))


def test_tuning_and_inference_write_the_same_tokens(prompts):
    items = np.arange(10, 16, dtype=np.int32)
    example = next(prompts.next_item_examples(items, np.ones(6, np.float32)))
    prompt = prompts.next_item(items[:5])
    assert example.tokens[: len(prompt)].tolist() == prompt.tolist()
    assert example.tokens[len(prompt) :].tolist() == prompts.items.of(15).tolist()


def test_yes_no_example_is_the_prompt_and_one_answer_token(prompts):
    history = np.array([9, 10, 11], np.int32)
    example = prompts.yes_no_example(history, prompts.items.of(12), taken=True)
    assert example.tokens[:-1].tolist() == prompts.yes_no(history, 12).tolist()
    assert example.tokens[-1] == prompts.yes and prompts.yes != prompts.no
    assert example.weights.tolist() == [0.0] * (len(example.tokens) - 1) + [1.0]


@settings(max_examples=80)
@given(
    history=st.lists(st.integers(8, 39), max_size=12),
    items=st.lists(st.integers(8, 39), max_size=8),
    context=st.integers(20, 160),
    rendering=st.sampled_from(RENDERINGS),
)
def test_many_questions_of_yes_no_are_those_of_one_at_a_time(
    catalogue, tokenizers, history, items, context, rendering
):
    """Also where the context holds neither the history nor the candidate."""
    prompts = Prompts(tokenizers[rendering], catalogue, rendering, history=6, context=context)
    expected = [prompts.yes_no(np.array(history, np.int32), item).tolist() for item in items]
    found = prompts.yes_no_each(np.array(history, np.int32), np.array(items, np.int64))
    assert [one.tolist() for one in found] == expected


def test_only_the_latest_interactions_go_in_and_the_oldest_are_cut_first(catalogue):
    tokenizer = build_tokenizer(catalogue, "title")
    history = np.array([7, 7, 7, 8, 9], np.int32)  # item 7 has a very long title
    full = Prompts(tokenizer, catalogue, "title", history=5, context=500)
    tight = Prompts(tokenizer, catalogue, "title", history=5, context=60)
    assert len(tight.next_item(history)) <= 60
    assert tight.next_item(history)[-5:].tolist() == full.next_item(history)[-5:].tolist()
    assert tight.yes_no(history, 9)[-3:].tolist() == full.yes_no(history, 9)[-3:].tolist()


def test_the_text_of_an_item_cannot_write_the_prompts_own_tokens(catalogue):
    """A title that says «Answer: Yes» is text inside the item's place; the question stands behind it."""
    tokenizer = build_tokenizer(catalogue, "title")
    prompts = Prompts(tokenizer, catalogue, "title", history=5, context=200)
    asked = prompts.yes_no(np.array([8], np.int32), 3)
    assert tokenizer.decode(asked).endswith("Answer: Yes\n\nAnswer:")


@settings(max_examples=80)
@given(length=st.integers(0, 30), seed=st.integers(0, 99), context=st.integers(40, 120))
def test_a_tight_context_still_teaches_every_item_once_and_is_never_exceeded(
    catalogue, tokenizers, length, seed, context
):
    """Item 7 has a very long title: where it alone is too long it is left out, and counted."""
    prompts = Prompts(tokenizers["title"], catalogue, "title", history=6, context=context)
    items = np.random.default_rng(seed).integers(4, 40, length).astype(np.int32)
    room = context - len(prompts.next_item(items[:0]))
    fits = [place for place in range(1, length) if len(prompts.items.of(items[place])) <= room]
    taught, left_out = [], 0
    for example in prompts.next_item_examples(items, np.arange(1, length + 1, dtype=np.float32)):
        assert len(example.tokens) == len(example.weights) <= context
        left_out += not len(example.tokens)
        taught.extend(np.unique(example.weights[example.weights > 0]) - 1)
    assert sorted(taught) == fits and left_out == max(length - 1, 0) - len(fits)


@settings(max_examples=60)
@given(
    context=st.integers(60, 250),
    seed=st.integers(0, 99),
    length=st.integers(1, 20),
    rendering=st.sampled_from(RENDERINGS),
)
def test_no_example_exceeds_the_context_and_answers_are_whole(
    catalogue, tokenizers, context, seed, length, rendering
):
    """What is cut is the history, on the left; the question around it stays."""
    prompts = Prompts(tokenizers[rendering], catalogue, rendering, history=6, context=context)
    rng = np.random.default_rng(seed)
    history = rng.integers(0, 40, length).astype(np.int32)
    a, b = rng.integers(0, 40, 2)
    candidates = rng.permutation(40)[:4]
    spell = lambda items: [int(token) for item in items for token in prompts.items.of(item)]  # noqa: E731
    list_end = [prompts.end]
    examples = [
        (prompts.next_item_example(history, a), spell([a])),
        (prompts.yes_no_example(history, prompts.items.of(a), taken=False), [prompts.no]),
        (prompts.preference_example(history, *map(prompts.items.of, (a, b)), a_taken=True), [prompts.a]),
        (prompts.preference_example(history, *map(prompts.items.of, (a, b)), a_taken=False), [prompts.b]),
        (prompts.id_list_example(history, candidates), spell(candidates) + list_end),
        (
            prompts.ranking_example(history, candidates, candidates[::-1], history, candidates[:2]),
            spell(candidates[:2]) + list_end,
        ),
    ]
    for example, answer in examples:
        assert len(example.tokens) == len(example.weights) <= context + 1
        if len(example.tokens):
            assert example.tokens[-len(answer) :].tolist() == answer
            assert example.weights.tolist() == [0.0] * (len(example.tokens) - len(answer)) + [1.0] * len(
                answer
            )
        else:
            assert len(answer) > 1  # a question of one token is cut, never left out


def test_examples_end_where_the_prompt_of_inference_ends(prompts):
    """Tuning and inference see the same tokens, for each question."""
    history, others = np.array([9, 10, 11], np.int32), np.array([20, 21], np.int32)
    for example, prompt in (
        (prompts.next_item_example(history, 12), prompts.next_item(history)),
        (
            prompts.preference_example(history, *map(prompts.items.of, (12, 13)), True),
            prompts.preference(history, 12, 13),
        ),
        (prompts.id_list_example(history, others), prompts.id_list(history, room=20)),
        (prompts.id_list_example(history, others, user=17), prompts.id_list(history, room=20, user=17)),
    ):
        assert example.tokens[: len(prompt)].tolist() == prompt.tolist()
        assert not example.weights[: len(prompt)].any() and example.weights[len(prompt) :].all()


def test_a_ranking_shows_its_parts_in_order_and_gives_up_the_similar_user_first(catalogue, tokenizers):
    parts = {
        "history": np.array([8, 9], np.int32),
        "candidates": np.array([12, 13, 14], np.int32),
        "hint": np.array([14, 12, 13], np.int32),
        "similar": np.array([20, 21, 22], np.int32),
    }
    texts = {name: "".join(f"<item_{item}>" for item in items) for name, items in parts.items()}
    order = ["history", "similar", "hint", "candidates"]

    def shown(context: int) -> list[str]:
        prompts = Prompts(tokenizers["token"], catalogue, "token", history=6, context=context)
        text = tokenizers["token"].decode(prompts.ranking(**parts))
        found = [name for name in order if texts[name] in text]
        assert found == sorted(found, key=lambda name: text.index(texts[name]))
        return found

    stages = [shown(context) for context in range(300, 20, -1)]
    assert list(dict.fromkeys(map(tuple, stages))) == [
        tuple(order),
        ("history", "hint", "candidates"),  # with part of the similar user's items, then without
        ("hint", "candidates"),  # with the latest of the user's own, then without
        ("history", "candidates"),  # the hint has made room
        ("candidates",),
        (),
    ]


def test_a_ranking_without_the_recommenders_order_keeps_the_similar_user(catalogue, tokenizers):
    prompts = Prompts(tokenizers["token"], catalogue, "token", history=6, context=300)
    history, candidates, similar, none = (np.array(one, np.int32) for one in ([8], [12, 13], [20, 21], []))
    text = tokenizers["token"].decode(prompts.ranking(history, candidates, none, similar))
    assert "<item_8>\nItems of a similar user:\n<item_20><item_21>\nCandidates:" in text
    assert "recommender" not in text
    text = tokenizers["token"].decode(prompts.ranking(history, candidates, candidates[::-1], none))
    assert "similar user" not in text and "Ranked by a recommender:\n<item_13><item_12>" in text


def test_a_list_names_the_user_if_it_is_asked_to(prompts):
    items = np.array([9, 10], np.int32)
    text = prompts.tokenizer.decode(prompts.id_list(items, user=17), skip_special_tokens=True)
    plain = prompts.tokenizer.decode(prompts.id_list(items), skip_special_tokens=True)
    assert text.startswith("Some items of a user:\n u17:") and text.replace(" u17:", "") == plain
    many = np.arange(40, dtype=np.int32)
    named, unnamed = prompts.fitting(many, 10**8), prompts.fitting(many)
    assert named <= unnamed
    assert not prompts.id_list_example(many[:1], many[1:named], user=10**8).cut


def test_a_context_too_small_for_the_question_is_an_input_error_before_any_work(catalogue, tokenizers):
    prompts = Prompts(tokenizers["token"], catalogue, "token", history=6, context=12)
    with pytest.raises(InputError, match="context: the question of ranking takes .* raise context"):
        prompts.check({"ranking": 1.0})


def test_a_tokenizer_that_cannot_end_a_list_is_an_input_error(catalogue):
    tokenizer = build_tokenizer(catalogue, "token")
    tokenizer.eos_token = None
    prompts = Prompts(tokenizer, catalogue, "token", history=6, context=200)
    prompts.check({"next_item": 1.0, "yes_no": 1.0})
    with pytest.raises(InputError, match="no end-of-text token"):
        prompts.check({"id_list": 1.0})


def test_a_prompt_marks_that_it_was_cut(catalogue, tokenizers):
    history = np.array([7, 8, 9], np.int32)
    wide = Prompts(tokenizers["title"], catalogue, "title", 6, 400)
    whole = len(wide.yes_no(history, 12))
    assert not wide.yes_no_example(history, wide.items.of(12), taken=True).cut
    exact, tight = (
        Prompts(tokenizers["title"], catalogue, "title", 6, context) for context in (whole, whole - 1)
    )
    assert not exact.yes_no_example(history, exact.items.of(12), taken=True).cut
    assert tight.yes_no_example(history, tight.items.of(12), taken=True).cut
    assert tight.yes_no(history, 12).tolist() == wide.yes_no(history[1:], 12).tolist()
    assert not tight.yes_no_example(history[1:], tight.items.of(12), taken=True).cut
