"""Stage augment: histories -> requests -> LLM -> proposals -> discriminator -> ledger -> judge, in one streaming pipeline.

The ledger holds what the LLMs said and outlives every rerun; `augmentation/<strategy>` is what this recipe makes of it:
`answers` with an outcome for every proposal, and `rankings`, each user's list.
"""

import logging
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.augment.content import content
from app.augment.discriminate import finished, questions
from app.augment.ledger import Ledger, ids_of, unanswered
from app.augment.progress import Progress
from app.augment.publishing import publish_answers
from app.augment.strategies import build
from app.augment.strategies.base import Strategy, requests
from app.cluster import connect, fetch
from app.data import Prepared
from app.llm.engine import Sampling, ask
from app.llm.prompts import VERSION, Prompts
from app.place import Place
from app.recipe import Recipe, StrategySection
from app.workspace import Workspace, fingerprint

log = logging.getLogger("longtail")
ATTEMPTS = 3
"""A request that was lost with an actor is asked again in the same run, this often."""
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
        "itemcf": recipe.itemcf.model_dump(mode="json"),
        "seed": recipe.seed,
    }
    stage = ws.stage(f"augmentation/{section.strategy}", settings, [ws / "data", *roles.values()])
    if stage.up_to_date:
        return
    ws.claim()
    for role in roles:
        ws.require(f"llm/{role}")
    prepared = Prepared(ws)
    connect(recipe.resources)
    asking = Asking(recipe, ws, section, prepared)
    with stage.publishing() as draft:
        answers = asking.run()
        stage.counts = publish_answers(recipe, prepared, section, answers, draft)


class Asking:
    """One strategy of a recipe, ready to be asked: what its ledger is called, and the pipeline that fills it."""

    def __init__(self, recipe: Recipe, ws: Workspace, section: StrategySection, prepared: Prepared) -> None:
        self.recipe, self.section, self.prepared = recipe, section, prepared
        self.strategy: Strategy = build(recipe, section, ws, prepared)
        self.llm = ws / f"llm/{self.strategy.role}"
        self.discriminator, self.judging = ws / "llm/discriminator", None
        if self.strategy.judged and recipe.judge.yes_no > 0:
            tuning = recipe.discriminator
            self.judging = Prompts.open(
                self.discriminator, prepared.items, recipe.llm.items, tuning.history, tuning.context
            )
        self.salt = self._salt()
        root = Place.named(recipe.ledger, "ledger") if recipe.ledger else ws / "ledger"
        self.ledger = Ledger(root / f"{section.strategy}/{self.salt}")

    def _salt(self) -> str:
        """A hash of everything but a request's own content that its answer depends on."""
        import ray

        models = [self.llm] + ([self.discriminator] if self.judging else [])
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
        everything = self.requests(shared)
        wanted = ids_of(everything)
        for attempt in range(ATTEMPTS + 1):
            left, count = self.ledger.left(wanted)
            if not count:
                return self.ledger.read(wanted)
            if attempt == ATTEMPTS:
                raise RuntimeError(
                    f"{self.section.strategy}: {count} requests have no answer after {ATTEMPTS} rounds;"
                    f" {self.ledger.place} has the others"
                )
            log.info("%s: %d requests to ask%s", self.section.strategy, count, " again" if attempt else "")
            remaining = everything.map_batches(unanswered, batch_format="pyarrow", fn_kwargs={"left": [left]})
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
            proposals = getattr(self.section, "proposals", strategy.questions)
            judged = ask(self.discriminator, resources, self.judging.context + 1, Sampling(), proposals)
            drafts = judged(drafts)
        return drafts.map_batches(
            partial(finished, strategy=strategy.name, judged=self.judging is not None),
            batch_format="pyarrow",
            batch_size=None,
            zero_copy_batch=True,
        )


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
