"""Discrimination: a question Yes or No for every proposal that is still open, in the row of its request."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.augment.strategies.base import Spoken, prompt_column
from app.llm.prompts import Prompts
from app.schema import ANSWERS, PROPOSAL

COSTS = ("answers", "prompt_tokens", "output_tokens", "seconds", "error")
"""What an engine adds to a row."""


def questions(drafts: pa.Table, prompts: Prompts) -> pa.Table:
    """Rows with `history` and `proposals` get the discriminator's `prompts` and `options`, one for each open proposal.

    What the strategy's LLM cost keeps its columns under other names, for the discriminator's engine writes its own.
    """
    asked: list[list[np.ndarray]] = [[] for _ in range(len(drafts))]
    histories = drafts["history"].combine_chunks()
    starts, items = histories.offsets.to_numpy(), histories.values.to_numpy()
    rows, candidates = _open(drafts)
    for row, item in zip(rows.tolist(), candidates.tolist(), strict=True):
        asked[row].append(prompts.yes_no(items[starts[row] : starts[row + 1]], item))
    options = np.tile(np.array([prompts.yes, prompts.no], np.int32), (len(drafts), 1))
    named = drafts.drop_columns(["answers"]).rename_columns(
        [f"first_{name}" if name in COSTS else name for name in drafts.column_names if name != "answers"]
    )
    return named.append_column("prompts", prompt_column(asked)).append_column(
        "options", prompt_column(list(options))
    )


def finished(answers: pa.Table, strategy: str, judged: bool) -> pa.Table:
    """Rows of `schema.ANSWERS`; with `judged`, P(Yes) of every proposal that was open goes to its place."""
    columns: dict[str, Any] = {name: answers[name] for name in ("request_id", "user")}
    columns["strategy"] = pa.array([strategy] * len(answers), pa.string())
    proposals = answers["proposals"].combine_chunks()
    first = "first_" if judged else ""
    columns |= {name: answers[first + name] for name in COSTS if name != "answers"}
    columns["questions"] = answers["questions"]
    zeros = pa.array(np.zeros(len(answers), np.int32))
    columns |= {"judge_questions": zeros, "judge_tokens": zeros, "judge_seconds": zeros.cast(pa.float32())}
    if judged:
        columns["judge_questions"] = pa.array(np.bincount(_open(answers)[0], minlength=len(answers)))
        columns["judge_tokens"] = pc.add(answers["prompt_tokens"], answers["output_tokens"])
        columns["judge_seconds"] = answers["seconds"]
        proposals = _with_yes_no(proposals, answers)
    columns["proposals"] = proposals
    return pa.table([columns[name] for name in ANSWERS.names], ANSWERS.names).cast(ANSWERS)


def yes_share(said: Spoken) -> np.ndarray:
    """P(Yes) / (P(Yes) + P(No)) of every question whose options were Yes and No: float32 [questions]."""
    yes, no = said.option_logprobs.reshape(-1, 2).T
    return 1.0 / (1.0 + np.exp(no - yes))


def _with_yes_no(proposals: pa.ListArray, answers: pa.Table) -> pa.ListArray:
    """A question that the engine failed on leaves its proposals without a P(Yes)."""
    flat = proposals.flatten()
    rows = proposals.value_parent_indices().to_numpy(zero_copy_only=False)
    is_open = flat.field("outcome").is_null().to_numpy(zero_copy_only=False)
    failed = answers["error"].is_valid().to_numpy()[rows]
    values, known = np.zeros(len(flat), np.float32), is_open & ~failed
    values[known] = yes_share(Spoken.of(answers))
    fields = {field.name: flat.field(field.name) for field in PROPOSAL}
    fields["yes_no"] = pa.array(values, mask=~known)
    structs = pa.StructArray.from_arrays(list(fields.values()), fields=list(PROPOSAL))
    return pa.ListArray.from_arrays(proposals.offsets, structs)


def _open(drafts: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Row and item of every open proposal."""
    proposals = drafts["proposals"].combine_chunks()
    flat = proposals.flatten()
    is_open = flat.field("outcome").is_null().to_numpy(zero_copy_only=False)
    rows = proposals.value_parent_indices().to_numpy(zero_copy_only=False)
    items = flat.field("item").to_numpy(zero_copy_only=False)
    return rows[is_open], items[is_open].astype(np.int64)
