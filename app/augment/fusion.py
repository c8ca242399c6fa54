"""Stage fuse: observed + generated interactions -> the variants of the training set, one row per user.

All variants but `observed` add the same number of interactions to a user, so that a lift is not a matter of amount. A
held-out item is added by none of them.
"""

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from app.augment import controls
from app.augment.judge import select
from app.augment.next_item import rare_items
from app.cluster import connect, fetch
from app.data import Prepared
from app.recipe import Recipe, Variant
from app.schema import ACCEPTED, FUSED, REJECTED
from app.workspace import Place, Stage, Workspace

PARTITIONS = 4

_LISTS = pa.schema(
    [("user", pa.int32()), ("discriminated", pa.list_(pa.int32())), ("generated", pa.list_(pa.int32()))]
)


def fuse(recipe: Recipe, ws: Workspace) -> None:
    """Write every variant of the recipe that is not up to date."""
    import ray

    strategy = ws / f"augmentation/{recipe.augment[0].strategy}"
    stages = {
        variant: ws.stage(
            f"fused/{variant}",
            {"variant": variant}
            if variant == "observed"
            else {"variant": variant, "weight": recipe.judge.weight, "seed": recipe.seed},
            [ws / "data"] if variant == "observed" else [ws / "data", strategy],
        )
        for variant in recipe.variants
    }
    stages = {variant: stage for variant, stage in stages.items() if not stage.up_to_date}
    if not stages:
        return
    connect(recipe.resources)
    prepared = Prepared(ws)
    histories = prepared.histories().select_columns(["user", "items", "train_end"])
    if set(stages) != {"observed"}:
        answers = ray.data.read_parquet(
            (strategy / "answers").path, filesystem=strategy.fs, columns=["user", "proposals"]
        )
        choose = partial(_lists, tail_share=recipe.augment[0].tail_share, rare=rare_items(prepared.items))
        lists = answers.map_batches(choose, batch_format="pyarrow")
        histories = histories.join(
            lists, join_type="left_outer", num_partitions=PARTITIONS, on=("user",)
        ).materialize()
    itemcf = (
        ray.remote(controls.observed_itemcf).remote(prepared.place, prepared.n_items)
        if "itemcf" in stages
        else None
    )
    counts = ray.put(prepared.items["train_count"].to_numpy())
    for variant, stage in stages.items():
        rows = histories.map_batches(
            partial(
                _fused,
                variant=variant,
                weight=recipe.judge.weight,
                seed=recipe.seed,
                counts=counts,
                itemcf=itemcf,
            ),
            batch_format="pyarrow",
        )
        _publish(stage, rows)


def _publish(stage: Stage, rows: Any) -> None:
    import ray

    with stage.publishing() as draft:
        target = (draft / "interactions").make_folder()
        rows.write_parquet(target.path, filesystem=target.fs)
        stage.counts = ray.get(ray.remote(_sizes).remote(target))


def _lists(batch: pa.Table, tail_share: float, rare: np.ndarray) -> pa.Table:
    """Answers -> per user the accepted items by confidence, and as many chosen by the generator's probability alone."""
    rows = []
    for user, proposals in zip(batch["user"].to_pylist(), batch["proposals"].to_pylist(), strict=True):
        judged = [proposal for proposal in proposals if proposal["outcome"] in (ACCEPTED, REJECTED)]
        accepted = sorted((p for p in judged if p["outcome"] == ACCEPTED), key=lambda p: -p["confidence"])
        items = np.array([p["item"] for p in judged], np.int64)
        likelihood = np.array([p["likelihood"] for p in judged], np.float64)
        likely = items[select(likelihood, rare[items], len(accepted), tail_share)]
        rows.append(
            {"user": user, "discriminated": [p["item"] for p in accepted], "generated": likely.tolist()}
        )
    return pa.Table.from_pylist(rows, _LISTS)


def _fused(batch: pa.Table, variant: Variant, weight: float, seed: int, counts: Any, itemcf: Any) -> pa.Table:
    """Rows of histories, joined with the accepted and generated lists -> rows of `schema.FUSED`."""
    pick = None
    if variant == "random":
        pick = controls.at_random(seed, len(fetch(counts)))
    elif variant == "popular":
        pick = controls.by_popularity(seed, fetch(counts))
    elif variant == "itemcf":
        pick = controls.by_itemcf(fetch(itemcf))
    rows = []
    for row in batch.to_pylist():
        train = row["items"][: row["train_end"]]
        if variant == "observed":
            added = []
        elif pick is None:
            added = row[variant] or []
        else:
            held_out = np.asarray(row["items"][row["train_end"] :], np.int64)
            count = len(row["discriminated"] or [])
            added = pick(row["user"], np.asarray(train, np.int32), held_out, count).tolist()
        rows.append(
            {
                "user": row["user"],
                "items": train + added,
                "weights": [1.0] * len(train) + [weight] * len(added),
                "observed": len(train),
            }
        )
    return pa.Table.from_pylist(rows, FUSED)


def _sizes(fused: Place) -> dict[str, int]:
    """The manifest's counts, file by file."""
    counts = {"users": 0, "observed": 0, "generated": 0}
    for file in fused.files(".parquet"):
        table = file.read_table(["items", "observed"])
        observed = pc.sum(table["observed"]).as_py() or 0
        counts["users"] += table.num_rows
        counts["observed"] += observed
        counts["generated"] += (pc.sum(pc.list_value_length(table["items"])).as_py() or 0) - observed
    return counts
