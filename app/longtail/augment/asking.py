"""Asking: one strategy with its ledger, and the pipelines that fill and read this ledger."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.augment.discriminate import Judging, finished, heard_in, keep, unheard
from longtail.augment.ledger import AT_ONCE, Ledger, ids_of, open_ledger, unanswered
from longtail.augment.llm_content import content
from longtail.augment.monitor import Progress, Written, written
from longtail.augment.outcomes import publish_answers
from longtail.augment.strategies.spec import StrategySpec, Tools
from longtail.augment.strategies.strategy import Strategy, requests
from longtail.data import Prepared
from longtail.llm.prompts.building import Prompts
from longtail.llm.vllm_pool import Sampling, ask
from longtail.recipe import Recipe, StrategySection
from longtail.registry import strategy_spec
from longtail.rounds import FIRST_ROUND, Round
from longtail.runtime.cluster import fetch
from longtail.schema import ANSWER, ANSWERS
from longtail.text.text_source import TextSource
from longtail.workspace import Workspace, fingerprint
from longtail.workspace.place import Place

log = logging.getLogger("longtail")
ATTEMPTS = 3
"""How often a run asks again for requests whose answers were lost with an actor."""
NO_ANSWERS = ANSWERS.append(pa.field("unheard", pa.int64())).empty_table()


class Asking:
    """One strategy of a recipe with its ledger, and the pipelines that fill and read this ledger.

    A strategy that asks no LLM has no ledger: all that it says is in its requests. texts: for a strategy that reads them.
    """

    def __init__(
        self,
        recipe: Recipe,
        ws: Workspace,
        section: StrategySection,
        prepared: Prepared,
        round_: Round = FIRST_ROUND,
        texts: TextSource | None = None,
    ) -> None:
        import ray

        self.recipe, self.section, self.prepared = recipe, section, prepared
        self.users_seed = recipe.seed - round_.seed_index
        """All seeds ask about the same users."""
        self.spec: StrategySpec = strategy_spec(section.strategy)
        role = self.spec.role_of(section)
        self.llm = None if role is None else ws / round_.llm(role)
        self.discriminator = ws / round_.llm("discriminator")
        self.strategy: Strategy = self.spec.build(
            section, Tools.open(recipe, role, self.llm, prepared, texts)
        )
        root = open_ledger(recipe, ws)
        self.salt, self.ledger = "", None
        if self.llm is not None:
            self.salt = _salt(self.llm, self.strategy.sampling)
            self.ledger = Ledger(root / f"{section.strategy}/{self.salt}")
        self.judging: Judging | None = None
        if self.spec.judged and recipe.judge.yes_no > 0:
            tuning, items = recipe.discriminator, prepared.items
            prompts = Prompts.open(
                self.discriminator, items, recipe.llm.items, tuning.history, tuning.context
            )
            self.judging = Judging(prompts, _salt(self.discriminator, Sampling()))
            self.judged = (root / f"yes_no/{self.judging.salt}").make_folder()
        self.shared = ray.put((self.strategy, self.judging))
        """The strategy, and how it is judged, in the object store for all tasks."""

    def publish(self, draft: Place) -> dict[str, Any]:
        """Ask what was not asked yet, then judge and write the answers. Returns the counts for the manifest."""
        requests = self.run()
        for _ in range(ATTEMPTS + 1):
            answers = self.answers(requests)
            if self.spec.together:
                answers = self._together(answers)
            counts = publish_answers(self.recipe, self.prepared, self.section, answers, draft)
            unheard = counts.pop("unheard")
            if not unheard:
                return counts
            log.info("%s: %d requests with proposals to judge", self.section.strategy, unheard)
            for part in ("answers", "rankings"):
                (draft / part).delete()
            self._follow(self.judged_later(requests), unheard)
        raise self._incomplete(unheard, "are not judged", self.judged)

    def run(self) -> Any:
        """Ask until the ledger has one answer for each request. Returns all requests, without their prompts, as a dataset.

        The object store keeps this dataset, because building the prompts again takes longer than reading all answers.
        """
        requests = self.requests().drop_columns(["prompts", "options"])
        requests = requests.repartition(target_num_rows_per_block=AT_ONCE).materialize()
        if self.ledger is None:
            return requests
        wanted = ids_of(requests)
        for attempt in range(ATTEMPTS + 1):
            left, count = self.ledger.left(wanted)
            if not count:
                return requests
            if attempt == ATTEMPTS:
                raise self._incomplete(count, "have no answer", self.ledger.place)
            log.info("%s: %d requests to ask%s", self.section.strategy, count, " again" if attempt else "")
            remaining = self.requests().map_batches(
                unanswered, batch_format="pyarrow", fn_kwargs={"left": [left]}
            )
            self._follow(self.asked(remaining), count)

    def requests(self) -> Any:
        """Rows of `schema.REQUESTS` for all users that the strategy asks about."""
        import ray

        histories = self.prepared.histories()
        if self.section.users:
            drawn = _drawn(self.users_seed, self.prepared.n_users, self.section.users)
            histories = histories.map_batches(
                _among, batch_format="pyarrow", fn_kwargs={"users": [ray.put(drawn)]}
            )
        return histories.map_batches(
            partial(_requests, shared=[self.shared], salt=self.salt, seed=self.recipe.seed),
            batch_format="pyarrow",
        )

    def asked(self, requests: Any) -> Any:
        """Requests -> sums of their answers (`monitor.Written`, a column per field), after the answers are in the ledger."""
        strategy, resources = self.strategy, self.recipe.resources
        engines = ask(
            self.llm, resources, strategy.prompts.context + 1, strategy.sampling, strategy.questions
        )
        drafts = _whole(self.ledger.keep(engines(requests)), _read, shared=[self.shared])
        if self.judging:
            drafts = self._discriminated(drafts)
        return _whole(drafts, written, asked=True)

    def judged_later(self, requests: Any) -> Any:
        """Like `asked`, for requests that have an answer, but whose proposals the discriminator has not all seen.

        Either a run stopped between the two steps, or other proposals are open now than in earlier runs.
        """
        drafts = _whole(self.ledger.read(requests), _read, shared=[self.shared])
        return _whole(self._discriminated(drafts, waiting=True), written, asked=False)

    def answers(self, requests: Any) -> Any:
        """Answered requests -> rows of `schema.ANSWERS`, with a column `unheard` (see `discriminate.finished`)."""
        drafts = _whole(self.words(requests), _read, shared=[self.shared])
        name, heard = self.section.strategy, self._heard()
        return _whole(drafts, _finished, name=name, shared=[self.shared], heard=[heard])

    def words(self, requests: Any) -> Any:
        """Answered requests with their words; there are none if no LLM is asked."""
        return _whole(requests, _wordless) if self.ledger is None else self.ledger.read(requests)

    def _together(self, answers: Any) -> Any:
        """The answers of all users after a strategy has decided about all of them at once (`StrategySpec.together`)."""
        import ray

        decide = ray.remote(num_cpus=1)(_decided)
        return ray.data.from_arrow_refs([decide.remote(answers, [self.shared])])

    def _discriminated(self, drafts: Any, waiting: bool = False) -> Any:
        """Ask the discriminator about open proposals that it has not answered yet. waiting: drop rows that have none."""
        proposals = getattr(self.section, "proposals", self.strategy.questions)
        engines = ask(
            self.discriminator, self.recipe.resources, self.judging.prompts.context + 1, Sampling(), proposals
        )
        put = _whole(drafts, _put, shared=[self.shared], heard=[self._heard()], waiting=waiting)
        return _whole(engines(put), keep, place=self.judged)

    def _heard(self) -> Any:
        """A Ray reference to the answers of the discriminator so far."""
        import ray

        return ray.remote(num_cpus=0.1)(heard_in).remote(self.judged) if self.judging else None

    def _follow(self, sums: Any, total: int) -> None:
        """Run a pipeline and log its progress."""
        progress = Progress(self.section, self.recipe.prices, self.recipe.llm.base, total)
        for batch in sums.iter_batches(batch_format="pyarrow", batch_size=None, prefetch_batches=0):
            for row in batch.to_pylist():
                progress.add(Written(**row), self.ledger.place)

    def _incomplete(self, count: int, how: str, place: Place) -> RuntimeError:
        return RuntimeError(
            f"{self.section.strategy}: {count} requests {how} after {ATTEMPTS} rounds; {place} has the others"
        )


def _salt(llm: Place, sampling: Sampling) -> str:
    """A hash of everything but the question that an answer depends on: the bytes of the LLM, and how it samples."""
    import ray

    return fingerprint(ray.get(ray.remote(num_cpus=0.5)(content).remote(llm)), sampling.told)


def _whole(dataset: Any, step: Callable[..., pa.Table], **settings: Any) -> Any:
    """A step that gets one whole block at a time. References are in lists; Ray would fetch bare ones for every task."""
    return dataset.map_batches(
        partial(step, **settings), batch_format="pyarrow", batch_size=None, zero_copy_batch=True
    )


def _drawn(seed: int, n_users: int, count: int) -> np.ndarray:
    """bool [n_users]: `count` users, drawn at random."""
    drawn = np.zeros(n_users, bool)
    drawn[np.random.default_rng(seed).permutation(n_users)[:count]] = True
    return drawn


def _among(batch: pa.Table, users: list[Any]) -> pa.Table:
    return batch.filter(pa.array(fetch(users[0])[batch["user"].to_numpy()]))


def _requests(batch: pa.Table, shared: list[Any], salt: str, seed: int) -> pa.Table:
    strategy, _ = fetch(shared[0])
    return requests(batch, strategy, salt, seed)


def _read(batch: pa.Table, shared: list[Any]) -> pa.Table:
    """Reads the words with this run's settings: adds `proposals`, and in `questions` the number of answered prompts."""
    strategy, _ = fetch(shared[0])
    asked = pc.list_value_length(batch["answers"]).cast(pa.int32())
    drafts = batch.append_column("proposals", strategy.read(batch).column(len(batch)))
    return drafts.drop_columns(["answers"]).append_column("questions", asked)


def _wordless(batch: pa.Table) -> pa.Table:
    """The columns of `schema.WORDS` for requests without a question."""
    n = len(batch)
    for name in ("prompt_tokens", "output_tokens"):
        batch = batch.append_column(name, pa.array(np.zeros(n, np.int32)))
    batch = batch.append_column("seconds", pa.array(np.zeros(n, np.float32)))
    batch = batch.append_column("error", pa.nulls(n, pa.string()))
    return batch.append_column("answers", pa.array([[]] * n, pa.list_(ANSWER)))


def _decided(answers: Any, shared: list[Any]) -> pa.Table:
    """Runs as a Ray task, which itself runs the dataset."""
    strategy, _ = fetch(shared[0])
    parts = [pa.table(batch) for batch in answers.iter_batches(batch_format="pyarrow", batch_size=None)]
    return strategy.together(pa.concat_tables(parts)) if parts else NO_ANSWERS


def _put(batch: pa.Table, shared: list[Any], heard: list[Any], waiting: bool) -> pa.Table:
    _, judging = fetch(shared[0])
    batch = unheard(batch, judging, fetch(heard[0]))
    return batch.filter(pc.greater(pc.list_value_length(batch["asked"]), 0)) if waiting else batch


def _finished(batch: pa.Table, name: str, shared: list[Any], heard: list[Any]) -> pa.Table:
    _, judging = fetch(shared[0])
    return finished(batch, name, judging, judging and fetch(heard[0]))
