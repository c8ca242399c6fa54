"""Noise: only the end of a candidate's title changes, as often whatever the answer is, and never what is validated."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.llm.examples.tasks import History, Tasks
from longtail.llm.examples.title_noise import WORDS_AT_MOST, TitleNoise
from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.item_text import MAX_TITLE, item_texts
from longtail.llm.quality.answers import INJECTION
from longtail.llm.small_llama import build_tokenizer
from longtail.recipe import Discriminator

TOOK = np.array([10, 11, 12, 13, 14], np.int32)


@pytest.fixture(scope="module")
def prompts(catalogue) -> Prompts:
    return Prompts(build_tokenizer(catalogue, "title"), catalogue, "title", history=5, context=1000)


@pytest.fixture(scope="module")
def noise(prompts, catalogue) -> TitleNoise:
    return TitleNoise(prompts, catalogue)


def tasks(prompts: Prompts, catalogue, noise: float) -> Tasks:
    section = Discriminator(tasks={"yes_no": 1.0, "preference": 1.0}, title_noise=noise)
    return Tasks(prompts, section, catalogue, seed=3)


@settings(max_examples=80)
@given(item=st.integers(0, 39), seed=st.integers(0, 2**32))
def test_an_item_keeps_its_title_and_stays_one_line_of_a_titles_length(prompts, catalogue, noise, item, seed):
    text = prompts.tokenizer.decode(noise.written(item, np.random.default_rng(seed)))
    own = item_texts(catalogue, "title")[item]
    line, words = text[:-1], len(text.split()) - len(own.split())
    assert text.endswith("\n") and "\n" not in line and len(line) <= MAX_TITLE + 1
    if len(own) <= MAX_TITLE // 2:
        assert line.startswith(own + " ") and 1 <= words <= WORDS_AT_MOST
    else:
        assert own.startswith(line[: MAX_TITLE // 2 - 1])


def test_words_are_the_prompts_own_and_any_others_but_not_the_sentence_that_is_measured(noise):
    """A defence that had learnt the attack by heart would say nothing of the next one."""
    rng = np.random.default_rng(0)
    words = Counter(noise._word(rng) for _ in range(4000))
    own = sum(count for word, count in words.items() if word in noise.own)
    assert {"Yes", "No", "Answer:"} <= words.keys() and 0.4 < own / 4000 < 0.62
    assert len(words) > 1000
    assert INJECTION.strip() not in " ".join(words)


@pytest.mark.parametrize("task", ["yes_no", "preference"])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_noise_is_as_likely_behind_what_was_taken_as_behind_what_was_not(prompts, catalogue, task, share):
    writer = tasks(prompts, catalogue, share)
    candidates: dict[bool, list[str]] = {True: [], False: []}
    for user in range(60):
        for example in writer.train(task, History(user, TOOK), None):
            text = prompts.tokenizer.decode(example.tokens)
            asked, answer = text.rsplit("\nAnswer:", 1)
            if task == "yes_no":
                candidates[answer == " Yes"].append(asked.rsplit("\nItem:\n", 1)[1])
            else:
                first, second = asked.rsplit("\nA:\n", 1)[1].rsplit("\nB:\n", 1)
                candidates[answer == " A"].append(first)
                candidates[answer == " B"].append(second)
    titles = {text + "\n" for text in item_texts(catalogue, "title")}
    noisy = {taken: np.mean([one not in titles for one in found]) for taken, found in candidates.items()}
    assert len(candidates[True]) == len(candidates[False]) == 240
    assert noisy == pytest.approx({True: share, False: share}, abs=0.13 if share == 0.5 else 0)


def test_histories_and_validation_carry_no_noise(prompts, catalogue):
    noisy, plain = (tasks(prompts, catalogue, share) for share in (1.0, 0.0))
    history = prompts.items.join(TOOK, 1000).tolist()
    for example in noisy.train("yes_no", History(2, TOOK), None):
        past = prompts.tokenizer.decode(example.tokens).split("\nItem:\n")[0]
        assert prompts.tokenizer.decode(history).startswith(past.split("Items:\n")[1])
    for task in ("yes_no", "preference"):
        pair = [list(writer.validation(task, History(2, TOOK), 15)) for writer in (noisy, plain)]
        assert [one.tokens.tolist() for one in pair[0]] == [one.tokens.tolist() for one in pair[1]]


def test_where_items_are_tokens_there_is_no_title_to_write_in(catalogue):
    tokens = Prompts(build_tokenizer(catalogue, "token"), catalogue, "token", history=5, context=400)
    examples = [
        [
            example.tokens.tolist()
            for example in tasks(tokens, catalogue, share).train("yes_no", History(2, TOOK), None)
        ]
        for share in (1.0, 0.0)
    ]
    assert examples[0] == examples[1]
