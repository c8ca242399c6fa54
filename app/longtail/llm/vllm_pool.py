"""vLLM engines as a step of a Ray Data pipeline: rows of requests in, the same rows with their answers out.

The pool of actors grows and shrinks; each actor has its own engine. Rows hold token ids, so that the engine sees exactly
the tokens that tuning saw. Columns stay Arrow arrays. All questions of a request stay in one row, so that a crash cannot
split its answer. `ray.data.llm` handles one row at a time in asyncio; with small models that costs several times the time
of the engine itself (docs/results/speed.md, "Augmentation").
"""

import logging
import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from queue import SimpleQueue
from typing import Any

import numpy as np
import pyarrow as pa

from longtail.arrays import lengths_of, lists_of, offsets_of, rows_of
from longtail.recipe import Resources
from longtail.schema import ANSWER
from longtail.workspace.place import Place

Row = dict[str, Any]
MAX_LOGPROBS = 64
"""Most alternatives of one token that an answer can contain."""

IN_ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""On a CPU, vLLM 0.29 starts a separate process for the model, only to bind threads, which we do not need. It would take a
third more time to start, and messages between processes at every step."""

QUESTIONS_AT_ONCE = 1024
"""Questions per batch, about: enough to fill an engine's steps, few enough that little is lost if an actor dies."""
BATCHES_AT_ONCE = 2
"""Batches that an engine works on at a time: while one ends, the next one fills the steps."""


@dataclass(frozen=True)
class Sampling:
    """How a pool answers. max_tokens 1 and `top` > 0: the likeliest next tokens. max_tokens 1 and a request with
    `options`: the log-probabilities of exactly these tokens. max_tokens 1 and `scored` > 0: how likely the end of the
    prompt was. max_tokens > 1: text of at most `max_tokens` tokens.
    """

    max_tokens: int = 1
    top: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    grammar: str | None = None
    """A grammar that the written text must follow (vLLM's structured outputs)."""
    scored: int = 0
    """If it is above 0, the answer has no new text: `written` are the last `scored` tokens of the prompt itself, with the
    log-probability of each after those before it. Such prompts share no prefixes in the engine."""

    @property
    def told(self) -> dict[str, Any]:
        """What an answer depends on, for its id. `scored` came later; at its default it says nothing."""
        return {name: value for name, value in vars(self).items() if name != "scored" or value}

    def parameters(self, options: Sequence[int]) -> Any:
        """vLLM's SamplingParams for these options, without a seed per request.

        Answers are stored, never generated again, so no seed is needed. And a CPU engine that samples with seeds crashes
        when it splits a prompt (vLLM 0.29).
        """
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        asked = {"logprob_token_ids": list(options)} if options else {"logprobs": self.top}
        if self.temperature:
            asked |= {"temperature": self.temperature, "top_p": self.top_p}
        else:
            asked["temperature"] = 0.0
        if self.scored:
            asked["prompt_logprobs"] = 0  # those of the prompt's own tokens, without alternatives
        if self.grammar:
            asked["structured_outputs"] = StructuredOutputsParams(grammar=self.grammar)
        return SamplingParams(max_tokens=self.max_tokens, detokenize=False, flat_logprobs=True, **asked)


def engine_arguments(llm: Place, resources: Resources, context: int) -> Row:
    """Keyword arguments of one vLLM engine.

    On a CPU it is eager, because compiling is slower there, and computes in the precision that the LLM was tuned in. With
    bf16 its logits are in fp32: in bf16 they are so coarse that many confidences would tie.
    """
    common = {
        "max_model_len": context,
        "max_logprobs": MAX_LOGPROBS,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
    }
    if resources.accelerator == "gpu":
        return common
    dtype = (llm / "config.json").read_json().get("dtype", "float32")
    on_cpu = {"enforce_eager": True, "dtype": dtype, "max_num_seqs": 256}
    if dtype != "float32":
        on_cpu["hf_overrides"] = {"head_dtype": "float32"}
    return common | on_cpu | {"distributed_executor_backend": IN_ONE_PROCESS}


def ask(
    llm: Place, resources: Resources, context: int, sampling: Sampling, questions: int = 1
) -> Callable[[Any], Any]:
    """A step that asks the `prompts` of every row: from dataset to dataset, with rows in any order.

    It adds `answers` (list of ANSWER, one per prompt), `prompt_tokens`, `output_tokens`, `seconds` and `error` (null if
    there is none). A row that the engine rejects has no answers. questions: about how many prompts a row has.
    """
    import ray.data

    rows = max(1, QUESTIONS_AT_ONCE // questions)

    def step(dataset: Any) -> Any:
        # An actor outputs its rows when a block is done. With one batch per block, answers arrive steadily.
        blocks = dataset.repartition(target_num_rows_per_block=rows)
        with warnings.catch_warnings():
            # Ray 2.60 warns that this way to give an actor more threads will be removed; there is no other way yet.
            warnings.simplefilter("ignore")
            return blocks.map_batches(
                Engine,
                fn_constructor_args=(llm, engine_arguments(llm, resources, context), sampling),
                batch_format="pyarrow",
                batch_size=None,
                zero_copy_batch=True,
                compute=ray.data.ActorPoolStrategy(
                    min_size=resources.pool[0],
                    max_size=resources.pool[1],
                    max_tasks_in_flight_per_actor=2 * BATCHES_AT_ONCE,
                    enable_true_multi_threading=True,
                ),
                ray_remote_args_fn=lambda: {"max_concurrency": BATCHES_AT_ONCE},
                **({"num_gpus": 1} if resources.accelerator == "gpu" else {"num_cpus": 1}),
            )

    return step


@dataclass
class _Batch:
    """The questions of one call, while the engine works on them."""

    outputs: list[Any]
    left: int
    done: threading.Event = field(default_factory=threading.Event)

    def answer(self, place: int, output: Any) -> None:
        self.outputs[place] = output
        self.left -= 1
        if not self.left:
            self.done.set()


class Engine:
    """One vLLM engine. Calls may come from several threads; one more thread feeds the engine and takes its answers.

    If the engine dies, the process ends. Ray Data then starts a new actor and gives it the same batches.
    """

    def __init__(self, llm: Place, arguments: Row, sampling: Sampling) -> None:
        from vllm import LLM

        with llm.local() as folder:
            # An answer of one token needs no tokenizer; longer text does, to know the end token.
            arguments = arguments | {"skip_tokenizer_init": sampling.max_tokens == 1}
            self.engine = LLM(str(folder), **arguments).llm_engine
        self.sampling = sampling
        self._asked: SimpleQueue[tuple[str, list[int], Any, _Batch, int]] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()
        if children := multiprocessing.active_children():
            threading.Thread(target=_end_with, args=(children,), daemon=True).start()

    def __call__(self, batch: pa.Table) -> pa.Table:
        """The table without `prompts` and `options`, with the columns that `ask` adds."""
        started = time.monotonic()
        outputs = self._answers(batch)
        table = batch.drop_columns(["prompts", "options"])
        counts = lengths_of(batch["prompts"])
        columns = _answer_columns(outputs, counts, time.monotonic() - started, self.sampling.scored)
        for name, column in columns.items():
            table = table.append_column(name, column)
        return table

    def _answers(self, batch: pa.Table) -> list[Any]:
        """vLLM's output for each prompt, or the error message if it was rejected; row by row."""
        prompts = _column(batch, "prompts").to_pylist()
        options = _column(batch, "options").to_pylist()
        together = _Batch([None] * sum(map(len, prompts)), sum(map(len, prompts)))
        place, known = 0, {}
        for questions, tokens in zip(prompts, options, strict=True):
            wanted = tuple(tokens)
            if wanted not in known:
                known[wanted] = self.sampling.parameters(wanted)
            for prompt in questions:
                self._asked.put((f"{id(together):x}-{place}", prompt, known[wanted], together, place))
                place += 1
        if place:
            together.done.wait()
        return together.outputs

    def _run(self) -> None:
        from vllm.exceptions import VLLMClientError

        waiting: dict[str, tuple[_Batch, int]] = {}
        try:
            while True:
                while not waiting or not self._asked.empty():
                    name, prompt, parameters, batch, place = self._asked.get()
                    try:
                        self.engine.add_request(name, {"prompt_token_ids": prompt}, parameters)
                        waiting[name] = batch, place
                    except (VLLMClientError, ValueError) as error:
                        # The prompt is too long, is empty, or holds an invalid token id.
                        batch.answer(place, str(error).partition("\n")[0] or "rejected by the engine")
                for output in self.engine.step():
                    if output.finished:
                        batch, place = waiting.pop(output.request_id)
                        batch.answer(place, output)
        except BaseException:
            logging.getLogger("longtail").exception("a vLLM engine died; Ray Data starts another")
            os._exit(1)  # calls that wait for answers would never return


def _end_with(children: list[multiprocessing.Process]) -> None:
    """End this process when one of vLLM's ends, because vLLM's client would wait forever for a killed process.

    On a GPU the engine is such a process, which computes while this one prepares the next questions.
    """
    connection.wait([child.sentinel for child in children])
    os._exit(1)


def _answer_columns(
    outputs: list[Any], counts: np.ndarray, seconds: float, scored: int = 0
) -> dict[str, pa.Array]:
    """The columns that `ask` adds. outputs: of all rows, in order; counts: number of questions of each row; scored: see
    `Sampling`.
    """
    rows = rows_of(counts)
    errors: list[str | None] = [None] * len(counts)
    prompt_tokens, output_tokens = np.zeros(len(counts), np.int32), np.zeros(len(counts), np.int32)
    for row, output in zip(rows.tolist(), outputs, strict=True):
        if isinstance(output, str):
            errors[row] = output
    lists: dict[str, list[list[Any]]] = {
        name: [] for name in ("written", "written_logprobs", "options", "option_logprobs")
    }
    kept = np.zeros(len(counts), np.int64)
    for row, output in zip(rows.tolist(), outputs, strict=True):
        if errors[row] is not None:
            continue
        kept[row] += 1
        said = output.outputs[0]
        prompt_tokens[row] += len(output.prompt_token_ids)
        output_tokens[row] += len(said.token_ids)
        tokens, found, alternatives = said.token_ids, said.logprobs, slice(0, 0)
        starts = found.start_indices
        if scored:
            # Nothing comes before the first token of a prompt, so that one has no probability.
            begin = max(1, len(output.prompt_token_ids) - scored)
            tokens, found = output.prompt_token_ids[begin:], output.prompt_logprobs
            starts = found.start_indices[begin:]
        elif found.end_indices:
            # The first entry is the written token, then the alternatives follow.
            alternatives = slice(1, found.end_indices[0])
        lists["written"].append(tokens)
        lists["written_logprobs"].append([found.logprobs[start] for start in starts])
        lists["options"].append(found.token_ids[alternatives])
        lists["option_logprobs"].append(found.logprobs[alternatives])
    parts = [
        _lists(values, pa.int32() if name in ("written", "options") else pa.float32())
        for name, values in lists.items()
    ]
    answers = pa.StructArray.from_arrays(parts, fields=list(ANSWER))
    tokens = (prompt_tokens + output_tokens).astype(np.float64)
    shares = tokens / max(1.0, tokens.sum())
    return {
        "answers": lists_of(offsets_of(kept), answers),
        "prompt_tokens": pa.array(prompt_tokens),
        "output_tokens": pa.array(output_tokens),
        "seconds": pa.array((seconds * shares).astype(np.float32)),
        "error": pa.array(errors, pa.string()),
    }


def _lists(values: list[list[Any]], kind: pa.DataType) -> pa.ListArray:
    flat = [value for one in values for value in one]
    return lists_of(offsets_of([len(one) for one in values]), pa.array(flat, kind))


def _column(table: pa.Table, name: str) -> pa.ListArray:
    return table[name].combine_chunks()
