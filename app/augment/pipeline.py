"""Stage augment: histories -> generator -> grounding -> discriminator -> ledger -> judge, in one streaming pipeline.

`ledger/<strategy>` holds what the LLMs said and outlives every rerun; `augmentation/<strategy>/answers` is the ledger
with the judge's outcomes, published.
"""

import logging
from collections import Counter
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from app.augment import discriminate
from app.augment.controls import observed_itemcf
from app.augment.judge import judge
from app.augment.ledger import Ledger
from app.augment.next_item import NextItemStrategy, rare_items
from app.cluster import connect, fetch
from app.data import Prepared
from app.llm.engine import Row, ask
from app.llm.prompts import VERSION, Prompts
from app.recipe import NextItem, Recipe
from app.schema import OUTCOMES
from app.workspace import Place, Workspace, fingerprint

log = logging.getLogger("longtail")
ATTEMPTS = 3
"""A request that was lost with an actor is asked again in the same run, this often."""


def augment(recipe: Recipe, ws: Workspace) -> None:
    """Ask the generator and the discriminator about every user that has no answer yet, then judge all answers.

    Does nothing where no variant of the recipe needs an LLM.
    """
    if not recipe.augmented:
        return
    for section in recipe.augment:
        settings = {
            "strategy": section.model_dump(),
            "judge": recipe.judge.model_dump(exclude={"weight"}),
            "items": recipe.llm.items,
            "history": [recipe.generator.history, recipe.discriminator.history],
            "context": [recipe.generator.context, recipe.discriminator.context],
        }
        inputs = [ws / "data", ws / "llm/generator", ws / "llm/discriminator"]
        stage = ws.stage(f"augmentation/{section.strategy}", settings, inputs)
        if stage.up_to_date:
            continue
        connect(recipe.resources)
        asked = [
            *(
                stage.inputs,
                settings["strategy"],
                settings["items"],
                settings["history"],
                settings["context"],
            ),
            VERSION,
        ]
        ledger = Ledger(ws / f"ledger/{section.strategy}/{fingerprint(asked)}")
        with stage.publishing() as draft:
            prepared = Prepared(ws)
            _ask(recipe, ws, section, prepared, ledger, asked)
            decide = partial(
                judge, settings=recipe.judge, tail_share=section.tail_share, rare=rare_items(prepared.items)
            )
            stage.counts = _publish(
                ledger.read().map_batches(decide, batch_format="pyarrow"), draft / "answers"
            )


def _ask(
    recipe: Recipe, ws: Workspace, section: NextItem, prepared: Prepared, ledger: Ledger, asked: list[Any]
) -> None:
    """Bring the ledger up to one answer per request.

    asked: what a request depends on besides its user; part of its hash.
    """
    import ray

    generator, discriminator = ws.require("llm/generator"), ws.require("llm/discriminator")
    strategy = NextItemStrategy.open(section, recipe.llm, recipe.generator, generator, prepared.items)
    asking = recipe.discriminator
    judging = Prompts.open(discriminator, prepared.items, recipe.llm.items, asking.history, asking.context)
    requests = strategy.requests(prepared, asked)
    shared = ray.put((strategy, judging))
    similarity = ray.remote(_similarity).options(num_cpus=1).remote(prepared.place, prepared.n_items)
    for attempt in range(ATTEMPTS + 1):
        remaining = ledger.remaining(requests)
        left = remaining.count()
        if left == 0:
            return
        if attempt == ATTEMPTS:
            raise RuntimeError(
                f"{section.strategy}: {left} requests have no answer after {ATTEMPTS} rounds; {ledger.place} has the others"
            )
        log.info("%s: %d requests to ask%s", section.strategy, left, " again" if attempt else "")
        generate = ask(
            generator,
            recipe.resources,
            strategy.prompts.context + 1,
            partial(_generator_question, shared),
            carried=("request_id", "user", "history", "held_out"),
        )
        decide = ask(
            discriminator,
            recipe.resources,
            judging.context + 1,
            partial(_discriminator_question, shared),
            carried=discriminate.CARRIED,
        )
        answers = decide(generate(remaining).flat_map(partial(_pairs, shared, similarity))).map_batches(
            discriminate.Gather,
            fn_constructor_args=(judging.yes, judging.no),
            batch_format="pyarrow",
            batch_size=None,
            concurrency=1,
            num_cpus=0.5,
        )
        with ledger.progress(section.strategy, left):
            ledger.append(answers)


def _generator_question(shared: Any, row: Row) -> tuple[list[int], Row]:
    strategy, _ = fetch(shared)
    return strategy.question(row)


def _discriminator_question(shared: Any, row: Row) -> tuple[list[int], Row] | None:
    _, prompts = fetch(shared)
    return discriminate.question(row, prompts)


def _pairs(shared: Any, similarity: Any, row: Row) -> list[Row]:
    strategy, _ = fetch(shared)
    return list(discriminate.pairs(row, strategy, fetch(similarity)))


def _similarity(data: Place, n_items: int) -> csr_matrix:
    """Items x items of an ItemCF on the observed training log: the independent signal of the judge."""
    return observed_itemcf(data, n_items).similarity


def _publish(judged: Any, target: Place) -> dict[str, Any]:
    """Write the judged answers. Returns the counts of the manifest; outcomes add up to the proposals."""
    import ray.data

    judged.write_parquet(target.make_folder().path, filesystem=target.fs)
    counted = ray.data.read_parquet(target.path, filesystem=target.fs).map_batches(
        _count, batch_format="pyarrow"
    )
    totals: Counter[str] = Counter()
    for row in counted.iter_rows():
        totals.update(row)
    outcomes = {outcome: int(totals[outcome]) for outcome in OUTCOMES}
    if sum(outcomes.values()) != totals["proposals"]:
        raise RuntimeError(f"outcomes {outcomes} do not add up to {totals['proposals']} proposals")
    numbers = ("requests", "errors", "questions", "prompt_tokens", "output_tokens", "proposals")
    return {name: int(totals[name]) for name in numbers} | {"outcomes": outcomes}


def _count(batch: pa.Table) -> pa.Table:
    """One row of sums for a batch of answers."""
    proposals = pc.list_flatten(batch["proposals"])
    outcomes = Counter(pc.struct_field(proposals, "outcome").to_pylist())
    sums = {
        name: pc.sum(batch[name]).as_py() or 0 for name in ("questions", "prompt_tokens", "output_tokens")
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
