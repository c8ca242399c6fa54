"""vLLM engines as a step of a Ray Data pipeline, through `ray.data.llm`.

Rows carry token ids, so that the engine sees exactly what tuning saw. A row that the engine rejects comes out with
`error` set and is counted, never fatal; an engine that dies takes its actor with it and is started anew by Ray Data.
"""

import logging
from collections.abc import Callable
from typing import Any

from app.recipe import Resources
from app.workspace import Place

Row = dict[str, Any]
MAX_LOGPROBS = 64
"""Most alternatives of one token that an answer can carry."""

ERROR = "__inference_error__"
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
    common = {"max_model_len": context, "max_logprobs": MAX_LOGPROBS, "enable_prefix_caching": True, "disable_log_stats": True}
    if resources.accelerator == "gpu":
        return common
    return common | {"enforce_eager": True, "dtype": "float32", "max_num_seqs": 256}


def ask(
    llm: Place,
    resources: Resources,
    context: int,
    question: Callable[[Row], tuple[list[int], Row]],
    carried: tuple[str, ...],
) -> Callable[[Any], Any]:
    """A step that asks one question a row: dataset in, dataset out, rows in any order.

    question(row) gives the prompt's token ids and the sampling parameters. What comes out is the `carried` columns and
    `text`, `tokens` (list of token ids written), `alternatives` and `logprobs` (per written token: token ids and their
    log-probabilities, likeliest first), `prompt_tokens`, `output_tokens`, `seconds`, `error` (null where all is well).
    """
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    logging.getLogger("ray.data.llm").setLevel(logging.ERROR)

    def before(row: Row) -> Row:
        if row.get(ERROR):
            return {}  # the engine lets such a row pass
        prompt, sampling = question(row)
        return {name: row[name] for name in carried} | {"tokenized_prompt": list(map(int, prompt)), "sampling_params": sampling}

    def after(row: Row) -> Row:
        steps = row.get("logprobs")
        steps = [] if steps is None else [dict(step) for step in steps]
        ordered = [sorted(((int(t), p["logprob"]) for t, p in step.items() if p is not None), key=lambda pair: -pair[1]) for step in steps]
        return {name: row[name] for name in carried} | {
            "text": row["generated_text"],
            "tokens": [int(token) for token in row["generated_tokens"]],
            "alternatives": [[token for token, _ in step] for step in ordered],
            "logprobs": [[logprob for _, logprob in step] for step in ordered],
            "prompt_tokens": row["num_input_tokens"],
            "output_tokens": row["num_generated_tokens"],
            "seconds": row["time_taken_llm"],
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
    return build_processor(config, preprocess=before, postprocess=after)
