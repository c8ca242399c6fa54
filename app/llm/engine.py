"""vLLM engines as a step of a Ray Data pipeline, through `ray.data.llm`.

Rows carry token ids, so that the engine sees exactly what tuning saw. A row that the engine rejects comes out with
`error` set and is counted, never fatal; an engine that dies takes its actor with it and is started anew by Ray Data.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from app.recipe import Resources
from app.workspace import Place

Row = dict[str, Any]
MAX_LOGPROBS = 64
"""Most alternatives of one token that an answer can carry."""

ERROR = "__inference_error__"
UNASKED = "unasked"
CARRIED = "carried"
NOTHING: Row = {
    "text": None,
    "tokens": [],
    "alternatives": [],
    "logprobs": [],
    "prompt_tokens": 0,
    "output_tokens": 0,
    "seconds": 0.0,
}
"""What a row that was not answered carries in place of an answer."""
BATCH = 64
CONCURRENT_BATCHES = 8
"""Small batches, many at a time: one slow prompt then holds up few others (Ray PR 52634)."""


def top_logprobs(count: int) -> Row:
    """Sampling for one prefill whose answer is the `count` likeliest next tokens with their log-probabilities."""
    return {"max_tokens": 1, "temperature": 0.0, "logprobs": count, "detokenize": False}


def token_logprobs(tokens: list[int]) -> Row:
    """Sampling for one prefill whose answer is the log-probability of each of `tokens`, likely or not."""
    return {"max_tokens": 1, "temperature": 0.0, "logprob_token_ids": tokens, "detokenize": False}


def decoded(max_tokens: int) -> Row:
    """Sampling for greedy text, with the log-probability of every token written."""
    return {"max_tokens": max_tokens, "temperature": 0.0, "logprobs": 0}


def engine_arguments(resources: Resources, context: int) -> Row:
    """Keyword arguments of one vLLM engine; eager and fp32 on a CPU, where compiling and bf16 only cost."""
    common = {
        "max_model_len": context,
        "max_logprobs": MAX_LOGPROBS,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
    }
    if resources.accelerator == "gpu":
        return common
    return common | {"enforce_eager": True, "dtype": "float32", "max_num_seqs": 256}


def ask(
    llm: Place,
    resources: Resources,
    context: int,
    question: Callable[[Row], tuple[list[int], Row] | None],
    carried: tuple[str, ...],
) -> Callable[[Any], Any]:
    """A step that asks one question a row: dataset in, dataset out, rows in any order.

    question(row) gives the prompt's token ids and the sampling parameters, or None to let the row pass unasked. What
    comes out is the `carried` columns and `text`, `tokens` (token ids written), `alternatives` and `logprobs` (per
    written token: token ids and their log-probabilities, likeliest first), `prompt_tokens`, `output_tokens`, `seconds`,
    `error` (null where all is well).
    """
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    def before(row: Row) -> Row:
        asked = question(row)
        # The engine stage writes columns of its own over the row's (request_id among them), hence one column of ours.
        kept = {CARRIED: {name: row[name] for name in carried}}
        if asked is None:
            return kept | {ERROR: UNASKED}  # the processor lets rows with an error pass
        return kept | {"tokenized_prompt": list(map(int, asked[0])), "sampling_params": asked[1]}

    def after(row: Row) -> Row:
        steps = [_likeliest_first(step) for step in _steps(row.get("logprobs"))]
        return row[CARRIED] | {
            "text": row["generated_text"],
            "tokens": [int(token) for token in row["generated_tokens"]],
            "alternatives": [[token for token, _ in step] for step in steps],
            "logprobs": [[logprob for _, logprob in step] for step in steps],
            "prompt_tokens": int(row["num_input_tokens"]),
            "output_tokens": int(row["num_generated_tokens"]),
            "seconds": float(row["time_taken_llm"]),
            "error": None,
        }

    cpu = {"placement_group_config": {"bundles": [{"CPU": 1}]}} if resources.accelerator == "cpu" else {}
    config = vLLMEngineProcessorConfig(
        model_source=llm.uri,
        engine_kwargs=engine_arguments(resources, context),
        batch_size=BATCH,
        concurrency=resources.pool,
        max_concurrent_batches=CONCURRENT_BATCHES,
        should_continue_on_error=True,
        log_engine_metrics=False,
        chat_template_stage=False,
        tokenize_stage=False,
        detokenize_stage=False,
        **cpu,
    )
    processor = build_processor(config, preprocess=before, postprocess=after)
    return lambda dataset: processor(dataset).map(partial(_even, carried=carried))


def _even(row: Row, carried: tuple[str, ...]) -> Row:
    """Rows with an error skip `after`; bring all rows to the same columns."""
    error = row.get(ERROR)
    if not error:
        return {name: row[name] for name in (*carried, *NOTHING, "error")}
    return row[CARRIED] | NOTHING | {"error": None if error == UNASKED else error}


def _steps(logprobs: Any) -> list[Row]:
    return [] if logprobs is None else [dict(step) for step in logprobs]


def _likeliest_first(step: Row) -> list[tuple[int, float]]:
    found = ((int(token), entry["logprob"]) for token, entry in step.items() if entry is not None)
    return sorted(found, key=lambda pair: -pair[1])
