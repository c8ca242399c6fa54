"""The engine's step without an engine: which answer belongs to which row, what a rejected row keeps, and its arguments."""

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.llm.vllm_pool import MAX_LOGPROBS, Sampling, _answer_columns, engine_arguments
from longtail.recipe import Resources
from longtail.schema import ANSWER
from longtail.workspace.place import Place


@dataclass
class Flat:
    """What vLLM's FlatLogprobs hold: of every written token itself first, then its alternatives, likeliest first."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    start_indices: list[int] = field(default_factory=list)
    end_indices: list[int] = field(default_factory=list)


def output(prompt: int, written: list[int], alternatives: list[int]) -> Any:
    """Of a prompt of so many tokens; log-probabilities tell by their value which token they belong to."""
    flat = Flat()
    for token in written:
        flat.start_indices.append(len(flat.token_ids))
        for one in (token, *alternatives):
            flat.token_ids.append(one)
            flat.logprobs.append(-one / 4)
        flat.end_indices.append(len(flat.token_ids))
    said = SimpleNamespace(token_ids=written, logprobs=flat)
    return SimpleNamespace(prompt_token_ids=[0] * prompt, outputs=[said])


tokens = st.lists(st.integers(0, 99), max_size=4)
question = st.one_of(st.just("too long"), st.tuples(st.integers(1, 9), tokens, tokens))
rows = st.lists(st.lists(question, max_size=3), max_size=5)


@given(given_rows=rows, seconds=st.sampled_from([0.5, 8.0]))
def test_answers_stay_with_their_rows(given_rows, seconds):
    """A row of which one question was rejected has its message and no answers, and moves none of the others."""
    outputs = [one if isinstance(one, str) else output(*one) for row in given_rows for one in row]
    counts = np.array([len(row) for row in given_rows], np.int64)
    table = pa.table(_answer_columns(outputs, counts, seconds))
    assert table["answers"].type == pa.list_(ANSWER)
    total = 0
    for given_row, row in zip(given_rows, table.to_pylist(), strict=True):
        if "too long" in given_row:
            assert row["error"] == "too long" and row["answers"] == []
            assert (row["prompt_tokens"], row["output_tokens"], row["seconds"]) == (0, 0, 0)
            continue
        assert row["error"] is None
        assert row["prompt_tokens"] == sum(prompt for prompt, _, _ in given_row)
        assert row["output_tokens"] == sum(len(written) for _, written, _ in given_row)
        total += row["prompt_tokens"] + row["output_tokens"]
        for (_, written, alternatives), said in zip(given_row, row["answers"], strict=True):
            assert said["written"] == written
            assert said["written_logprobs"] == [-one / 4 for one in written]
            assert said["options"] == (alternatives if written else [])
            assert said["option_logprobs"] == [-one / 4 for one in said["options"]]
    if total:
        assert sum(table["seconds"].to_pylist()) == pytest.approx(seconds), (
            "time is shared out, none of it lost"
        )


@given(
    prompts=st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=6), max_size=4),
    scored=st.integers(1, 8),
)
def test_of_a_scored_prompt_the_end_is_kept(prompts, scored):
    """Each token with its own log-probability; the first token of a prompt has none."""
    outputs = []
    for prompt in prompts:
        one = output(len(prompt), [5], [])
        told = Flat(start_indices=[0], end_indices=[0])
        for place, token in enumerate(prompt[1:]):
            told.token_ids.append(token)
            told.logprobs.append(-token / 4 - place)
            told.start_indices.append(place)
            told.end_indices.append(place + 1)
        one.prompt_token_ids, one.prompt_logprobs = prompt, told
        outputs.append(one)
    columns = _answer_columns(outputs, np.array([1] * len(prompts), np.int64), 1.0, scored)
    for prompt, row in zip(prompts, pa.table(columns).to_pylist(), strict=True):
        (said,) = row["answers"]
        places = range(max(1, len(prompt) - scored), len(prompt))
        assert said["written"] == [prompt[place] for place in places]
        assert said["written_logprobs"] == [-prompt[place] / 4 - (place - 1) for place in places]
        assert said["options"] == [] and row["prompt_tokens"] == len(prompt)


def test_what_does_not_score_is_told_as_before_there_was_scoring():
    """An old ledger is named by what was told of the sampling, so it would be asked anew."""
    old = {"max_tokens": 1, "top": 8, "temperature": 0.0, "top_p": 1.0, "grammar": None}
    assert Sampling(top=8).told == old and Sampling(top=8, scored=32).told == old | {"scored": 32}


def test_an_engine_can_say_as_many_options_as_strategies_ask_for(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    for accelerator in ("cpu", "gpu"):
        arguments = engine_arguments(
            Place.named(str(tmp_path), "llm"), Resources(accelerator=accelerator), 300
        )
        assert arguments["max_logprobs"] == MAX_LOGPROBS and arguments["max_model_len"] == 300
        assert arguments["enable_prefix_caching"]


@pytest.mark.parametrize(
    "saved, dtype, head",
    [
        ({}, "float32", None),
        ({"dtype": "float32"}, "float32", None),
        ({"dtype": "bfloat16"}, "bfloat16", "float32"),
    ],
)
def test_a_cpu_answers_in_the_precision_of_the_tuning(tmp_path, saved, dtype, head):
    """bf16 is three times as fast where a CPU has it; its logits stay fine enough to tell confidences apart."""
    (tmp_path / "config.json").write_text(json.dumps(saved))
    arguments = engine_arguments(Place.named(str(tmp_path), "llm"), Resources(), 300)
    assert arguments["dtype"] == dtype
    assert arguments.get("hf_overrides", {}).get("head_dtype") == head
