"""Stage augment: histories -> requests -> LLM -> proposals -> discriminator -> ledger -> judge, in one streaming pipeline.

The ledger holds what the LLMs said and outlives every rerun; `augmentation/<strategy>` is what this recipe makes of it:
`answers` with an outcome for every proposal, and `rankings`, each user's list.
"""

import logging
from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.augment.content import content
from app.augment.discriminate import finished, questions
from app.augment.judge import Signals, judge, rankings, with_agreement
from app.augment.ledger import Ledger, unanswered
from app.augment.progress import Progress
from app.augment.strategies import build
from app.augment.strategies.base import Strategy, requests
from app.augment.strategies.catalogue import rare_items
from app.augment.strategies.screening import kept
from app.cluster import connect, fetch
from app.data import Prepared
from app.llm.engine import Sampling, ask
from app.llm.prompts import VERSION, Prompts
from app.recipe import Judge, Recipe, StrategySection
from app.recommenders import build as build_recommender
from app.recommenders.reading import read_observed
from app.schema import OUTCOMES
from app.workspace import Place, Workspace, fingerprint

log = logging.getLogger("longtail")
ATTEMPTS = 3
"""A request that was lost with an actor is asked again in the same run, this often."""
RANKED = ("next_item", "ranking")
"""Strategies whose answers are each user's list for serving."""
BY_LIKELIHOOD = Judge(likelihood=1.0, agreement=0.0, yes_no=0.0)
NOT_CONTENT = {"users", "useless", "threshold"}
"""Settings of a strategy that no single answer depends on."""


def augment(recipe: Recipe, ws: Workspace) -> None:
    """Ask the LLMs about every user that has no answer yet, by every strategy of the recipe, then judge all answers.

    Does nothing where no variant of the recipe needs an LLM.
    """
    if not recipe.augmented:
        return
    for section in recipe.augment:
        _augment(recipe, ws, section)


def _augment(recipe: Recipe, ws: Workspace, section: StrategySection) -> None:
    roles = {role: ws / f"llm/{role}" for role in recipe.roles}
    tunings = {role: getattr(recipe, role) for role in roles}
    settings = {
        "strategy": section.model_dump(),
        "judge": recipe.judge.model_dump(exclude={"weight"}),
        "items": recipe.llm.items,
        "history": [tuning.history for tuning in tunings.values()],
        "context": [tuning.context for tuning in tunings.values()],
        "itemcf": _itemcf(recipe).model_dump(mode="json"),
        "seed": recipe.seed,
    }
    stage = ws.stage(f"augmentation/{section.strategy}", settings, [ws / "data", *roles.values()])
    if stage.up_to_date:
        return
    for role in roles:
        ws.require(f"llm/{role}")
    prepared = Prepared(ws)
    connect(recipe.resources)
    asking = Asking(recipe, ws, section, prepared)
    with stage.publishing() as draft:
        answers = asking.run()
        stage.counts = _publish(recipe, prepared, section, answers, draft)


class Asking:
    """One strategy of a recipe, ready to be asked: what its ledger is called, and the pipeline that fills it."""

    def __init__(self, recipe: Recipe, ws: Workspace, section: StrategySection, prepared: Prepared) -> None:
        self.recipe, self.section, self.prepared = recipe, section, prepared
        tuning = recipe.generator
        self.strategy: Strategy = build(recipe, section, ws, prepared)
        self.llm = ws / f"llm/{self.strategy.role}"
        self.judging = None
        if self.strategy.judged and recipe.judge.yes_no > 0:
            tuning = recipe.discriminator
            place = ws / "llm/discriminator"
            self.judging = Prompts.open(
                place, prepared.items, recipe.llm.items, tuning.history, tuning.context
            )
        self.salt = self._salt(ws)
        root = Workspace(recipe.ledger).root if recipe.ledger else ws / "ledger"
        self.ledger = Ledger(root / f"{section.strategy}/{self.salt}")

    def _salt(self, ws: Workspace) -> str:
        """A hash of everything but a request's own content that its answer depends on."""
        import ray

        models = [self.llm] + ([ws / "llm/discriminator"] if self.judging else [])
        hashed = ray.get([ray.remote(num_cpus=0.5)(content).remote(model) for model in models])
        asked = [self.strategy.prompts] + ([self.judging] if self.judging else [])
        catalogue = self.prepared.items.select(["item_id", "title", "slice"])
        return fingerprint(
            VERSION,
            self.section.model_dump(exclude=NOT_CONTENT),
            self.recipe.llm.items,
            [(prompts.history, prompts.context) for prompts in asked],
            hashed,
            fingerprint(catalogue.to_pydict()),
            vars(self.strategy.sampling),
        )

    def run(self) -> Any:
        """Bring the ledger up to one answer per request; all of them as a dataset."""
        import ray

        shared = ray.put((self.strategy, self.judging))
        wanted_requests = self.requests(shared)
        for attempt in range(ATTEMPTS + 1):
            wanted, left, count = self.ledger.split(wanted_requests)
            if not count:
                return self.ledger.read(wanted)
            if attempt == ATTEMPTS:
                raise RuntimeError(
                    f"{self.section.strategy}: {count} requests have no answer after {ATTEMPTS} rounds;"
                    f" {self.ledger.place} has the others"
                )
            log.info("%s: %d requests to ask%s", self.section.strategy, count, " again" if attempt else "")
            remaining = wanted_requests.map_batches(
                unanswered, batch_format="pyarrow", fn_kwargs={"left": [left]}
            )
            progress = Progress(self.section, self.recipe.prices, self.recipe.llm.base, count)
            for written in self.ledger.append(self.answers(remaining, shared)):
                progress.add(written, self.ledger.place)

    def requests(self, shared: Any) -> Any:
        """Rows of `schema.REQUESTS` about all users that the strategy asks about; shared: a reference to what asks."""
        import ray

        histories = self.prepared.histories()
        if self.section.users:
            drawn = _drawn(self.recipe.seed, self.prepared.n_users, self.section.users)
            histories = histories.map_batches(
                _among, batch_format="pyarrow", fn_kwargs={"users": [ray.put(drawn)]}
            )
        return histories.map_batches(
            partial(_requests, shared=[shared], salt=self.salt, seed=self.recipe.seed), batch_format="pyarrow"
        )

    def answers(self, remaining: Any, shared: Any) -> Any:
        """Requests -> rows of `schema.ANSWERS`, as the engines give them."""
        strategy, resources = self.strategy, self.recipe.resources
        asked = ask(self.llm, resources, strategy.prompts.context + 1, strategy.sampling, strategy.questions)
        read = partial(_read, shared=[shared], judged=self.judging is not None)
        drafts = asked(remaining).map_batches(
            read, batch_format="pyarrow", batch_size=None, zero_copy_batch=True
        )
        if self.judging:
            discriminator = self.llm.fs, self.llm.path.rsplit("/", 1)[0] + "/discriminator"
            proposals = getattr(self.section, "proposals", strategy.questions)
            judged = ask(Place(*discriminator), resources, self.judging.context + 1, Sampling(), proposals)
            drafts = judged(drafts)
        return drafts.map_batches(
            partial(finished, strategy=strategy.name, judged=self.judging is not None),
            batch_format="pyarrow",
            batch_size=None,
            zero_copy_batch=True,
        )


def _itemcf(recipe: Recipe) -> Any:
    """The settings of the judge's independent signal: the recipe's own ItemCF, tuned as that is."""
    from app.recipe import ItemCF

    return recipe.recommenders.itemcf or ItemCF()


def _drawn(seed: int, n_users: int, count: int) -> np.ndarray:
    """bool [n_users]: so many users at random."""
    drawn = np.zeros(n_users, bool)
    drawn[np.random.default_rng(seed).permutation(n_users)[:count]] = True
    return drawn


def _among(batch: pa.Table, users: list[Any]) -> pa.Table:
    return batch.filter(pa.array(fetch(users[0])[batch["user"].to_numpy()]))


def _requests(batch: pa.Table, shared: list[Any], salt: str, seed: int) -> pa.Table:
    strategy, _ = fetch(shared[0])
    return requests(batch, strategy, salt, seed)


def _read(batch: pa.Table, shared: list[Any], judged: bool) -> pa.Table:
    strategy, judging = fetch(shared[0])
    asked = pc.list_value_length(batch["answers"])
    drafts = batch.append_column("proposals", strategy.read(batch).column(len(batch)))
    drafts = drafts.append_column("questions", asked.cast(pa.int32()))
    return questions(drafts, judging) if judged else drafts


def _signals(data: Place, section: Any, rare: np.ndarray) -> Signals:
    """Fitted on the observed training log; runs in a Ray task."""
    return Signals(build_recommender("itemcf", section).fit(read_observed(data)), rare)


def _publish(
    recipe: Recipe, prepared: Prepared, section: StrategySection, answers: Any, draft: Place
) -> dict[str, Any]:
    """Judge the answers and write them. Returns the counts of the manifest; outcomes add up to the proposals."""
    import ray

    signals = ray.remote(num_cpus=1)(_signals).remote(
        prepared.place, _itemcf(recipe), rare_items(prepared.items)
    )
    settle = partial(
        _settled,
        signals=[signals],
        settings=_judge(recipe, section),
        ranked=section.strategy in RANKED,
        draft=draft,
    )
    totals: Counter[str] = Counter()
    counted = answers.map_batches(settle, batch_format="pyarrow", batch_size=None, zero_copy_batch=True)
    for batch in counted.iter_batches(batch_format="pyarrow", batch_size=None, prefetch_batches=0):
        for row in batch.to_pylist():
            totals.update(row)
    outcomes = {outcome: int(totals[outcome]) for outcome in OUTCOMES}
    if sum(outcomes.values()) != totals["proposals"]:
        raise RuntimeError(f"outcomes {outcomes} do not add up to {totals['proposals']} proposals")
    numbers = (
        "requests",
        "errors",
        "questions",
        "judge_questions",
        "prompt_tokens",
        "output_tokens",
        "judge_tokens",
    )
    return {name: int(totals[name]) for name in (*numbers, "proposals")} | {"outcomes": outcomes}


def _judge(recipe: Recipe, section: StrategySection) -> Judge | None:
    """Who decides what a strategy left open; None where it leaves nothing open."""
    if section.strategy == "screening":
        return kept(section)
    return recipe.judge if section.strategy == "next_item" else None


def _settled(
    batch: pa.Table, signals: list[Any], settings: Judge | None, ranked: bool, draft: Place
) -> pa.Table:
    """Write one file of answers, and of rankings, with all outcomes; answer its sums."""
    known = fetch(signals[0])
    if not len(batch):
        return _count(batch)
    if settings:
        batch = judge(with_agreement(batch, known), settings, known.rare)
    name = f"{batch['request_id'][0].as_py()}.parquet"
    (draft / f"answers/{name}").write_table(batch)
    if ranked:
        (draft / f"rankings/{name}").write_table(rankings(batch, settings or BY_LIKELIHOOD, known.rare))
    return _count(batch)


def _count(batch: pa.Table) -> pa.Table:
    """One row of sums for a batch of answers."""
    proposals = pc.list_flatten(batch["proposals"])
    outcomes = Counter(pc.struct_field(proposals, "outcome").to_pylist())
    sums = {
        name: pc.sum(batch[name]).as_py() or 0
        for name in ("questions", "judge_questions", "prompt_tokens", "output_tokens", "judge_tokens")
    }
    return pa.table(
        {name: [value] for name, value in sums.items()}
        | {
            "requests": [batch.num_rows],
            "errors": [batch.num_rows - batch["error"].null_count],
            "proposals": [len(proposals)],
        }
        | {outcome: [outcomes[outcome]] for outcome in OUTCOMES}
    )
