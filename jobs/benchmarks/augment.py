"""Augmentation compared with the engine alone: requests per second of the pipeline over those of `vllm.LLM.generate`.

One pipeline runs through all turns of a figure. It gets the users of a turn. After their answers are in the ledger, the
engine alone gets the same prompts. So both run under the same conditions, and start-up is not counted.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from ray.util.queue import Queue

from jobs.benchmarks import augment_memory
from jobs.benchmarks.random_llama import Shape
from jobs.benchmarks.small_store import recipe_of, write_llms
from longtail.augment.asking import Asking
from longtail.augment.strategies.strategy import requests
from longtail.data import Prepared, prepare
from longtail.llm.prompts.item_text import separator
from longtail.llm.vllm_pool import QUESTIONS_AT_ONCE, Sampling, engine_arguments
from longtail.runtime.cluster import connect, fetch
from longtail.schema import NOTHING
from longtail.workspace import Workspace
from longtail.workspace.place import Place

KINDS = {"topk": ("token", 0.0), "title": ("title", 0.0), "judge": ("token", 1.0)}
"""For each figure, how items are written in prompts, and the weight of Yes/No in the judge."""


@dataclass(frozen=True)
class Size:
    """users: the users of a turn, by figure. turns: the turns that count, after one that does not."""

    users: dict[str, int]
    turns: int


RESEARCH = Shape(hidden=256, layers=4, vocabulary=0)
"""A Llama of 3.3 M parameters without the embeddings of its tokens."""
SMALL = Shape(hidden=64, layers=2, vocabulary=0, head=32)
"""The default size of `llm.base: small`."""
FULL = Size({"topk": 16384, "title": 384, "judge": 1024}, turns=3)
"""A turn takes half a minute or more. The engine idles at its first and last block, which happens only once in a long
job."""
QUICK = Size({"topk": 1024, "title": 128, "judge": 128}, turns=1)


def measure(quick: bool = False) -> dict[str, float]:
    """Ratios, each the median of some turns, and the figures of `augment_memory.measure`.

    `topk_over_engine`, `title_over_engine`, `judge_over_engine`: requests per second of the pipeline, from histories
    to files in the ledger, over those of the engine alone with the same prompts, engine arguments and sampling. The
    LLM is a Llama of 3.3 M parameters (with `quick`, of the size of `small`). A request of `judge` is the generator's
    prompt and the discriminator's questions about its proposals; the engine alone is asked first the one, then the
    others.

    `topk_over_title_proposals`: grounded proposals per second with item tokens over those with titles. A Llama with
    random weights writes no titles of the catalogue, so the tokens that it wrote are counted as titles of mean length.
    """
    size, shape, found = QUICK if quick else FULL, SMALL if quick else RESEARCH, {}
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            found |= _over_engine(f"{folder}/{kind}", kind, shape, size)
    topk, title = (found.pop(f"{kind}_proposals") for kind in ("topk", "title"))
    ray.shutdown()
    return found | {"topk_over_title_proposals": topk / title} | augment_memory.measure(quick)


def _over_engine(folder: str, kind: str, shape: Shape, size: Size) -> dict[str, float]:
    """The ratio of a figure, and the requests and grounded proposals of the pipeline per second."""
    rendering, yes_no = KINDS[kind]
    users = size.users[kind]
    recipe, ws = recipe_of(users * (size.turns + 1), rendering, yes_no), Workspace(folder)
    prepare(recipe, ws)
    write_llms(recipe, ws, shape)
    connect(recipe.resources)
    asking = Asking(recipe, ws, recipe.augment[0], Prepared(ws))
    ours, bare = Turns(asking, size.turns + 1), Bare(asking)
    histories = (ws / "data/histories").read_table()
    taken = []
    for turn in range(size.turns + 1):
        given = histories.slice(turn * users, users)
        asked = requests(given, asking.strategy, asking.salt, recipe.seed)
        taken.append((ours.seconds(given, len(asked)), bare.seconds(asked)))
    speeds = [users / seconds for seconds, _ in taken[1:]]
    return {
        f"{kind}_over_engine": median(engine / pipeline for pipeline, engine in taken[1:]),
        f"{kind}_per_second": median(speeds),
    } | ({} if kind == "judge" else {f"{kind}_proposals": median(speeds) * _grounded(asking, asked)})


def _grounded(asking: Asking, asked: pa.Table) -> float:
    """The mean number of grounded proposals per answer; for titles, as many as its tokens could have written."""
    answers = _words(asked, asking)
    if separator(asking.recipe.llm.items):
        items = asking.strategy.prompts.items
        return pc.mean(answers["output_tokens"]).as_py() * len(items) / len(items.tokens)
    return float((asking.strategy.read(answers).items != NOTHING).sum() / len(answers))


def _words(asked: pa.Table, asking: Asking) -> pa.Table:
    """The answered requests, with their answers from the ledger."""
    read = asking.ledger.read(ray.data.from_arrow(asked.drop_columns(["prompts", "options"])))
    return pa.concat_tables(read.iter_batches(batch_format="pyarrow", batch_size=None))


class Turns:
    """A pipeline that keeps running: in each turn it answers the requests of the users that it is given."""

    def __init__(self, asking: Asking, turns: int) -> None:
        self.gate = Queue(actor_options={"num_cpus": 0})
        opened = ray.data.range(turns, override_num_blocks=turns).map_batches(
            partial(_gated, gate=self.gate), batch_size=1, batch_format="pyarrow", concurrency=1
        )
        asked = opened.map_batches(
            partial(_requests, shared=[asking.shared], salt=asking.salt, seed=asking.recipe.seed),
            batch_format="pyarrow",
            batch_size=None,
        )
        sums = asking.asked(asked).iter_batches(batch_format="pyarrow", batch_size=None, prefetch_batches=0)
        self.answered: Iterator[int] = (number for batch in sums for number in batch["requests"].to_pylist())

    def seconds(self, histories: pa.Table, n_requests: int) -> float:
        began = time.perf_counter()
        self.gate.put(histories)
        answered = 0
        while answered < n_requests:
            answered += next(self.answered)
        return time.perf_counter() - began


def _gated(_: pa.Table, gate: Queue) -> Iterator[pa.Table]:
    histories = gate.get()
    for start in range(0, len(histories), QUESTIONS_AT_ONCE):
        yield histories.slice(start, QUESTIONS_AT_ONCE)


def _requests(batch: pa.Table, shared: list[Any], salt: str, seed: int) -> pa.Table:
    return requests(batch, fetch(shared[0])[0], salt, seed)


class Bare:
    """The engine alone: `LLM.generate` in one process with the same environment.

    It answers the prompts of the generator and of the discriminator, if there is one: both have the same weights.
    """

    def __init__(self, asking: Asking) -> None:
        self.asking = asking
        strategy, resources = asking.strategy, asking.recipe.resources
        arguments = engine_arguments(asking.llm, resources, strategy.prompts.context + 1)
        arguments["skip_tokenizer_init"] = strategy.sampling.max_tokens == 1
        self.actor = ray.remote(num_cpus=1)(_Generate).remote(asking.llm, arguments)

    def seconds(self, asked: pa.Table) -> float:
        """Seconds for the requests, whose answers are in the ledger, and then for the judge's questions about them."""
        spent = self._generate(asked, self.asking.strategy.sampling)
        if self.asking.judging:
            spent += self._generate(self._judged(asked), Sampling())
        return spent

    def _generate(self, asked: pa.Table, sampling: Sampling) -> float:
        rows = zip(asked["prompts"].to_pylist(), asked["options"].to_pylist(), strict=True)
        prompts = [(prompt, options) for row, options in rows for prompt in row]
        return ray.get(self.actor.seconds.remote(prompts, sampling))

    def _judged(self, asked: pa.Table) -> pa.Table:
        """The judge's questions about the proposals in the answers, all in one row."""
        words, judging = _words(asked, self.asking), self.asking.judging
        drafts = words.append_column("proposals", self.asking.strategy.read(words).column(len(words)))
        _, prompts, _ = judging.questions(drafts)
        options = [judging.prompts.yes, judging.prompts.no]
        return pa.table({"prompts": [prompts], "options": [options]})


class _Generate:
    def __init__(self, llm: Place, arguments: dict[str, Any]) -> None:
        from vllm import LLM

        with llm.local() as folder:
            self.llm = LLM(str(folder), **arguments)

    def seconds(self, prompts: list[tuple[list[int], list[int]]], sampling: Sampling) -> float:
        parameters = [sampling.parameters(options) for _, options in prompts]
        asked = [{"prompt_token_ids": prompt} for prompt, _ in prompts]
        began = time.perf_counter()
        self.llm.generate(asked, parameters, use_tqdm=False)
        return time.perf_counter() - began
