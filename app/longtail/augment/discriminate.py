"""Discrimination: one Yes/No question for every open proposal. Each is asked once; the answer is kept unchanged."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from longtail.arrays import entry_rows, views_of, with_values
from longtail.augment.ledger import identity, write
from longtail.augment.strategies.strategy import Spoken, prompt_column
from longtail.llm.prompts.building import Prompts
from longtail.schema import ANSWERS, PROPOSAL, YES_NO
from longtail.workspace.place import Place

ASKED = pa.list_(pa.struct([("question", pa.uint64()), ("tokens", pa.int32())]))
"""What a row asks the discriminator: for each prompt the id of its question and its number of tokens."""
COSTS = ("questions", "prompt_tokens", "output_tokens", "seconds", "error")
"""The columns with the cost, and perhaps the error, of the LLM of the strategy."""
FIRST = "first_"
"""Prefix of these names while the discriminator answers: its engine writes columns of the same names."""


@dataclass(frozen=True)
class Heard:
    """The answers of the discriminator so far, one entry per question; 20 bytes each, in the object store.

    ids uint64 [n], sorted; yes_no float32 [n]: P(Yes), nan if the engine rejected the question; tokens int32 [n];
    seconds float32 [n].
    """

    ids: np.ndarray
    yes_no: np.ndarray
    tokens: np.ndarray
    seconds: np.ndarray

    def find(self, questions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The index of each question, and whether it has an answer at all: int64 and bool [questions]."""
        places = np.minimum(np.searchsorted(self.ids, questions), max(len(self.ids) - 1, 0))
        return places, self.ids[places] == questions if len(self.ids) else np.zeros(len(questions), bool)


def heard_in(place: Place) -> Heard:
    """All answers in the ledger of a discriminator, each question once. Runs as a Ray task."""
    files = [file.read_table() for file in place.files(".parquet")]
    table = pa.concat_tables([YES_NO.empty_table(), *files])
    questions, first = np.unique(table["question"].to_numpy(), return_index=True)
    columns = {name: table[name].to_numpy()[first] for name in YES_NO.names}
    return Heard(questions, share(columns["yes"], columns["no"]), columns["tokens"], columns["seconds"])


@dataclass(frozen=True)
class Judging:
    """How the discriminator is asked about proposals. salt: see `ledger.identity`."""

    prompts: Prompts
    salt: str

    def questions(self, drafts: pa.Table) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
        """For every open proposal its row, its prompt and the id of its question: int64, list of int32 and uint64 [open].

        drafts: rows with `user_id`, `history` and `proposals`.
        """
        rows, items = _open(drafts)
        options = np.array([self.prompts.yes, self.prompts.no], np.int32)
        histories = views_of(drafts["history"].combine_chunks())
        user_ids = drafts["user_id"].to_pylist()
        prompts: list[np.ndarray] = []
        questions: list[bytes] = []
        asking, first = np.unique(rows, return_index=True)
        for row, begin, end in zip(asking.tolist(), first, np.append(first[1:], len(rows)), strict=False):
            own = self.prompts.yes_no_each(histories[row], items[begin:end])
            prompts += own
            questions += [identity(self.salt, user_ids[row], [prompt], options) for prompt in own]
        return rows, prompts, np.frombuffer(b"".join(questions), ">u8").astype(np.uint64)


def unheard(drafts: pa.Table, judging: Judging, heard: Heard) -> pa.Table:
    """The rows with `prompts` and `options` for the discriminator: one prompt for each open proposal without an answer in
    `heard`. The column `asked` says which questions these are.
    """
    rows, prompts, questions = judging.questions(drafts)
    new = np.flatnonzero(~heard.find(questions)[1])
    asked: list[list[dict[str, int]]] = [[] for _ in range(len(drafts))]
    written: list[list[np.ndarray]] = [[] for _ in range(len(drafts))]
    for place in new.tolist():
        tokens = len(prompts[place]) + 1
        asked[rows[place]].append({"question": int(questions[place]), "tokens": tokens})
        written[rows[place]].append(prompts[place])
    options = np.tile(np.array([judging.prompts.yes, judging.prompts.no], np.int32), (len(drafts), 1))
    table = drafts.rename_columns([FIRST + name if name in COSTS else name for name in drafts.column_names])
    table = table.append_column("asked", pa.array(asked, ASKED))
    return table.append_column("prompts", prompt_column(written)).append_column(
        "options", prompt_column(list(options))
    )


def keep(answers: pa.Table, place: Place) -> pa.Table:
    """Write the answers of the discriminator to the questions in `asked`. Returns the rows unchanged."""
    asked = answers["asked"].combine_chunks()
    flat, rows = asked.flatten(), entry_rows(asked)
    tokens = flat.field("tokens").to_numpy()
    totals = np.bincount(rows, tokens, len(answers))
    seconds = answers["seconds"].to_numpy()[rows] * tokens / totals[rows]
    failed = answers["error"].is_valid().to_numpy()[rows]
    said = np.full((len(flat), 2), np.nan, np.float32)
    said[~failed] = Spoken.of(answers).option_logprobs.reshape(-1, 2)
    logprobs = [pa.array(column, mask=failed) for column in said.T]
    columns = [flat.field("question"), *logprobs, flat.field("tokens"), pa.array(seconds, pa.float32())]
    write(pa.table(columns, schema=YES_NO), place)
    return answers


def finished(
    drafts: pa.Table, strategy: str, judging: Judging | None = None, heard: Heard | None = None
) -> pa.Table:
    """Rows of `schema.ANSWERS`, with a column `unheard`: how many open proposals have no answer of the discriminator yet.
    The other open proposals get their P(Yes).

    drafts: rows with `proposals` and COSTS.
    """
    n = len(drafts)
    waiting = judge_questions = judge_tokens = np.zeros(n, np.int32)
    judge_seconds, proposals = np.zeros(n, np.float32), drafts["proposals"].combine_chunks()
    if judging and heard:
        rows, _, questions = judging.questions(drafts)
        places, known = heard.find(questions)
        waiting = np.bincount(rows[~known], minlength=n)
        rows, places = rows[known], places[known]
        judge_questions = np.bincount(rows, minlength=n)
        judge_tokens = np.bincount(rows, heard.tokens[places], n)
        judge_seconds = np.bincount(rows, heard.seconds[places], n)
        values = np.full(len(known), np.nan, np.float32)
        values[known] = heard.yes_no[places]
        proposals = _with_yes_no(proposals, values)
    columns: dict[str, Any] = {name: drafts[name] for name in ("request_id", "user", *COSTS)}
    columns |= {
        "strategy": pa.array([strategy] * n, pa.string()),
        "judge_questions": pa.array(judge_questions),
        "judge_tokens": pa.array(judge_tokens),
        "judge_seconds": pa.array(judge_seconds),
        "proposals": proposals,
    }
    table = pa.table([columns[name] for name in ANSWERS.names], ANSWERS.names).cast(ANSWERS)
    return table.append_column("unheard", pa.array(waiting))


def share(yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """P(Yes) / (P(Yes) + P(No)) from log-probabilities float32 [n]; nan if one of them is nan."""
    return 1.0 / (1.0 + np.exp(no - yes))


def _with_yes_no(proposals: pa.ListArray, values: np.ndarray) -> pa.ListArray:
    """values float32 [open]: P(Yes) of the open proposals, nan if there is none."""
    flat = proposals.flatten()
    is_open = flat.field("outcome").is_null().to_numpy(zero_copy_only=False)
    found = np.full(len(flat), np.nan, np.float32)
    found[is_open] = values
    fields = {field.name: flat.field(field.name) for field in PROPOSAL}
    fields["yes_no"] = pa.array(found, mask=np.isnan(found))
    structs = pa.StructArray.from_arrays(list(fields.values()), fields=list(PROPOSAL))
    return with_values(proposals, structs)


def _open(drafts: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Row int64, ascending, and item of every open proposal."""
    lists = drafts["proposals"].combine_chunks()
    flat = lists.flatten()
    is_open = flat.field("outcome").is_null().to_numpy(zero_copy_only=False)
    items = flat.field("item").to_numpy(zero_copy_only=False)
    return entry_rows(lists)[is_open], items[is_open].astype(np.int64)
