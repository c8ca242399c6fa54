"""From the ledger's answers to outcomes: every proposal gets its outcome, and each user gets a list for serving."""

from collections import Counter
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.augment.judge import judge, rankings, with_agreement
from longtail.augment.strategies.item_tokens import rare_items
from longtail.augment.strategies.spec import StrategySpec
from longtail.data import Prepared
from longtail.recipe import Judge, Recipe, StrategySection
from longtail.recommenders.training.reading import observed_itemcf
from longtail.registry import strategy_spec
from longtail.runtime.cluster import added_up, fetch
from longtail.schema import ANSWERS, OUTCOMES
from longtail.workspace.place import Place

BY_LIKELIHOOD = Judge(likelihood=1.0, agreement=0.0, yes_no=0.0)
SUMS = (
    *("requests", "errors", "questions", "judge_questions"),
    *("prompt_tokens", "output_tokens", "judge_tokens", "unheard"),
)
"""What is counted of answers, beside their proposals."""


def publish_answers(
    recipe: Recipe, prepared: Prepared, section: StrategySection, answers: Any, draft: Place
) -> dict[str, Any]:
    """Judge the answers and write them. Returns the counts for the manifest; the outcomes add up to the proposals.

    The count `unheard` is the number of requests with proposals that still wait for the discriminator. If it is not 0, the
    answers are not complete yet.

    answers: rows of `schema.ANSWERS`, with a column `unheard`. Raises RuntimeError if the outcomes do not add up.
    """
    import ray

    spec: StrategySpec = strategy_spec(section.strategy)
    settings = settling_judge(spec, recipe, section)
    fit = ray.remote(num_cpus=1)(observed_itemcf)
    settle = partial(
        _settled,
        # A strategy that leaves nothing open needs no ItemCF.
        itemcf=[fit.remote(prepared.place, recipe.itemcf) if settings else None],
        rare=rare_items(prepared.items),
        settings=settings,
        ranked=spec.ranks,
        draft=draft,
    )
    counted = answers.map_batches(settle, batch_format="pyarrow", batch_size=None, zero_copy_batch=True)
    totals = added_up(counted)
    outcomes = {outcome: int(totals[outcome]) for outcome in OUTCOMES}
    if sum(outcomes.values()) != totals["proposals"]:
        raise RuntimeError(f"outcomes {outcomes} do not add up to {totals['proposals']} proposals")
    return {name: int(totals[name]) for name in (*SUMS, "proposals")} | {"outcomes": outcomes}


def publish_nothing(draft: Place) -> dict[str, Any]:
    """The answers of a strategy that is not asked, because its LLM did not pass the gate. Returns the counts."""
    (draft / "answers/none.parquet").write_table(ANSWERS.empty_table())
    counts: dict[str, Any] = {name: 0 for name in (*SUMS, "proposals") if name != "unheard"}
    return counts | {"outcomes": dict.fromkeys(OUTCOMES, 0)}


def settling_judge(spec: StrategySpec, recipe: Recipe, section: StrategySection) -> Judge | None:
    """The judge of what a strategy leaves open; None if it leaves nothing open."""
    if spec.judge:
        return spec.judge(section)
    return recipe.judge if spec.judged else None


def _settled(
    batch: pa.Table,
    itemcf: list[Any],
    rare: np.ndarray,
    settings: Judge | None,
    ranked: bool,
    draft: Place,
) -> pa.Table:
    """Write a batch as one file of answers with all outcomes, and one of rankings. Returns its sums."""
    waiting = np.count_nonzero(batch["unheard"])
    batch = batch.drop_columns(["unheard"])
    if not len(batch):
        return _count(batch, waiting)
    if settings:
        batch = judge(with_agreement(batch, fetch(itemcf[0])), settings, rare)
    name = f"{batch['request_id'][0].as_py()}.parquet"
    (draft / f"answers/{name}").write_table(batch)
    if ranked:
        (draft / f"rankings/{name}").write_table(rankings(batch, settings or BY_LIKELIHOOD, rare))
    return _count(batch, waiting)


def _count(batch: pa.Table, waiting: int = 0) -> pa.Table:
    """One row of sums for a batch of answers. waiting: how many of its requests wait for the discriminator."""
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
            "unheard": [waiting],
            "errors": [batch.num_rows - batch["error"].null_count],
            "proposals": [len(proposals)],
        }
        | {outcome: [outcomes[outcome]] for outcome in OUTCOMES}
    )
