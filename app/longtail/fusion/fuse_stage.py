"""The stage `fuse`: writes the variants of the training set, one row per user, and preferences if a variant has them.

All variants of next_item add the same number of interactions of each item slice to a user, and each control adds the
same numbers as its variant, as far as it has so many candidates. So a lift does not come from the amount alone, nor from
the rarity of the items.

What is added comes from the known history alone, for a variant of an LLM and for a control. If it equals a held-out item, it
is a right guess and stays: to remove it would use the answer key. Only `without_hits` does that, to show the difference.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from longtail.arrays import entries_between, lengths_of, lists_of, offsets_of, places_of
from longtail.augment.strategies.strategy import rng_of
from longtail.data import Prepared
from longtail.data.catalogue import SLICES, slice_codes
from longtail.fusion.amounts import counted
from longtail.fusion.chosen import Chosen, choose, preferences
from longtail.fusion.controls import Control, build_control
from longtail.recipe import Judge, Recipe
from longtail.recommenders.interactions import Histories
from longtail.recommenders.training.fits import stand_in_fit
from longtail.recommenders.training.reading import observed_weights
from longtail.recommenders.training.train_stage import fit_runs
from longtail.rounds import Round, rounds
from longtail.runtime.cluster import added_up, connect, fetch
from longtail.schema import FUSED, STRENGTHS
from longtail.variants import VARIANTS, TrainedVariant, stand_ins
from longtail.workspace import Stage, Workspace
from longtail.workspace.place import Place

MEANING = 3
"""The version of this stage's output. Raise it if equal settings and inputs give different training sets."""


def fuse(recipe: Recipe, ws: Workspace) -> None:
    """Write every training set of the recipe that is not up to date."""
    for round_ in rounds(recipe):
        fuse_sets(round_.seeded(recipe), ws, round_, recipe.variants, list(recipe.training_sets))


def fuse_sets(
    recipe: Recipe, ws: Workspace, round_: Round, variants: Sequence[str], names: Sequence[str]
) -> None:
    """As `fuse`, for some variants in one round: their training sets, by `names`. recipe: see `Round.seeded`.

    First the sets that copy the log, on which the stand-ins of controls are fitted, then the others.
    """
    made_of_answers = {name: bool(VARIANTS[recipe.training_sets[name][0]].sources) for name in names}
    _write(recipe, ws, round_, [name for name, answers in made_of_answers.items() if not answers])
    fits = [stand_in_fit(recipe, round_, name) for name in stand_ins(variants)]
    fit_runs(recipe, ws, [fit for fit in fits if fit.round == round_])
    _write(recipe, ws, round_, [name for name, answers in made_of_answers.items() if answers])


def _write(recipe: Recipe, ws: Workspace, round_: Round, names: list[str]) -> None:
    stages = _stages(recipe, ws, round_, names)
    due = {name: stage for name, stage in stages.items() if not stage.up_to_date}
    if not due:
        return
    ws.claim()
    connect(recipe.resources)
    prepared = Prepared(ws, round_.data)
    fusing = Fusing(recipe, ws, round_, prepared)
    for name, stage in due.items():
        with stage.publishing() as draft:
            stage.counts = fusing.write(*recipe.training_sets[name], draft)


def _stages(recipe: Recipe, ws: Workspace, round_: Round, names: list[str]) -> dict[str, Stage]:
    """The stages of some training sets. The inputs: the variant's strategies, the judge and the control."""
    stages = {}
    for name in names:
        variant, judge = recipe.training_sets[name]
        made = VARIANTS[variant]
        if round_.seed_index and not made.sources:
            continue  # the observed log is the same for all seeds
        settings: dict[str, Any] = {"variant": variant}
        if made.sources:
            settings |= {"judge": judge.model_dump(), "seed": recipe.seed}
        if made.uses_itemcf:
            settings["itemcf"] = recipe.itemcf.of_fit()
        inputs = [
            ws / round_.data,
            *(ws / round_.at(f"augmentation/{strategy}") for strategy in made.sources),
            *(ws / stand_in_fit(recipe, round_, own).place for own in stand_ins([variant])),
        ]
        stages[name] = ws.stage(round_.at(f"fused/{name}"), settings, inputs, MEANING)
    return stages


class Fusing:
    """What all training sets of a recipe share: the prepared data, and references to what every task reads."""

    def __init__(self, recipe: Recipe, ws: Workspace, round_: Round, prepared: Prepared) -> None:
        import ray

        self.recipe, self.ws, self.round, self.prepared = recipe, ws, round_, prepared
        self.augmentation = ws / round_.at("augmentation")
        self.slices = slice_codes(prepared.items["slice"])
        self.items = ray.put(prepared.items.select(["train_count", "slice"]))

    def write(self, variant: TrainedVariant, judge: Judge, draft: Place) -> dict[str, Any]:
        """Write one training set to `draft`. Returns the counts of the manifest.

        A control also counts what is `short`: for each item slice, how many items it lacks for the amounts of the LLM.
        """
        made = VARIANTS[variant]
        chosen = None if made.prefers else self._chosen(variant, judge)
        control = None if made.prefers else self._control(variant, judge, chosen)
        fused = partial(
            fused_rows, variant=variant, weight=self._weight(variant, judge), seed=self.recipe.seed
        )
        strengths = [STRENGTHS.name] if self.recipe.dataset.repeats == "weight" else []
        histories = self.prepared.histories().select_columns(["user", "items", "train_end", *strengths])
        files = histories.map_batches(
            partial(_written, fused=fused, chosen=[chosen], control=[control], place=draft / "interactions"),
            batch_format="pyarrow",
        )
        totals = added_up(files)
        if made.prefers:
            seed = self.recipe.seed if made.stand_in == "coin" else None
            totals["preferences"] = self._preferences(*made.sources, seed, draft)
        short = {name: int(totals.pop(_short(name), 0)) for name in SLICES}
        counts = {name: int(count) for name, count in totals.items()}
        return counts if control is None else counts | {"short": short}

    def _chosen(self, variant: TrainedVariant, judge: Judge) -> Any:
        """A reference to the items that the LLMs add to each user. None if the variant has no strategy."""
        import ray

        strategies = VARIANTS[variant].sources
        if not strategies:
            return None
        places = {strategy: self.augmentation / f"{strategy}/answers" for strategy in strategies}
        task = ray.remote(num_cpus=0)(choose)
        data = self.prepared.place
        return task.remote(places, variant, judge, self.slices, self.prepared.n_users, data)

    def _weight(self, variant: TrainedVariant, judge: Judge) -> float:
        """The weight of what is added: a strategy may have its own."""
        sections = [self.recipe.strategies[name] for name in VARIANTS[variant].sources]
        return next((one.weight for one in sections if hasattr(one, "weight")), judge.weight)

    def _control(self, variant: TrainedVariant, judge: Judge, chosen: Any) -> Any:
        """A reference to the `Control` that replaces the LLM. None if the variant has no stand-in."""
        import ray

        if VARIANTS[variant].stand_in is None:
            return None
        fits = [self.ws / stand_in_fit(self.recipe, self.round, name).place for name in stand_ins([variant])]
        return ray.remote(num_cpus=1)(build_control).remote(
            self.recipe,
            variant,
            judge,
            self.prepared.place,
            self.items,
            *fits,
            **({"chosen": chosen} if VARIANTS[variant].stand_in == "users" else {}),
        )

    def _preferences(self, strategy: str, seed: int | None, draft: Place) -> int:
        import ray

        task = ray.remote(num_cpus=1)(preferences)
        answers = self.augmentation / f"{strategy}/answers"
        return ray.get(task.remote(answers, strategy, seed, draft / "preferences"))


def _written(batch: pa.Table, fused: Any, chosen: list[Any], control: list[Any], place: Place) -> pa.Table:
    """Write one file of a training set. Returns its sums as one row.

    chosen, control: references for `fused_rows`. They are in lists: Ray would fetch bare ones for every task.
    """
    found, source = (None if one is None else fetch(one) for one in (chosen[0], control[0]))
    table = fused(batch, chosen=found, control=source)
    if len(table):
        (place / f"{table['user'][0].as_py()}.parquet").write_table(table)
    observed = pa.compute.sum(table["observed"]).as_py() or 0
    total = pa.compute.sum(pa.compute.list_value_length(table["items"])).as_py() or 0
    sums = {"users": len(table), "observed": observed, "generated": total - observed}
    if source is not None:
        sums |= {_short(name): count for name, count in missing(table, found).items()}
    return pa.table({name: [value] for name, value in sums.items()})


def _short(name: str) -> str:
    """The column of sums with what a control lacks of the slice `name`."""
    return f"short {name}"


def missing(table: pa.Table, chosen: Chosen) -> dict[str, int]:
    """By item slice, how many items fewer are added in rows of `schema.FUSED` than the LLMs added for these users."""
    rows, items = entries_between(table["items"].combine_chunks(), table["observed"].to_numpy())
    added = Histories(offsets_of(np.bincount(rows, minlength=len(table))), items)
    lacking = chosen.amounts(table["user"].to_numpy()).added - counted(added, chosen.slices)
    return dict(zip(SLICES, lacking.sum(axis=0).tolist(), strict=True))


def fused_rows(
    batch: pa.Table,
    variant: TrainedVariant,
    weight: float,
    seed: int,
    chosen: Chosen | None,
    control: Control | None,
) -> pa.Table:
    """Make rows of `schema.FUSED` from rows of histories.

    chosen: the items that the LLMs add to every user; control: the source that replaces these by other items, as many
    of each item slice.
    """
    users, train, kept = _cut(batch)
    added = train.emptied()
    if chosen is not None:
        added = chosen.added.take(users)
        kept[train.pairs_in(chosen.dropped.take(users))] = 0.0
    if control is not None:
        added = control.items(users, train, chosen.amounts(users))
    columns = {
        "user": pa.array(users, pa.int32()),
        "items": _lists(train.followed_by(added)),
        "weights": _weights(train, added, kept, weight),
        "observed": pa.array(train.lengths.astype(np.int32)),
        "sequence": pa.nulls(len(users), pa.list_(pa.int32())),
    }
    if "insertion" in VARIANTS[variant].sources:
        columns["sequence"] = _inserted(users, train, added, seed)
    return pa.table(columns, FUSED)


def _weights(train: Histories, added: Histories, kept: np.ndarray, weight: float) -> pa.ListArray:
    rows = np.concatenate([train.rows, added.rows])
    values = np.concatenate([kept, np.full(len(added.items), weight, np.float32)])
    flat = values[np.argsort(rows, kind="stable")]
    return lists_of(train.indptr + added.indptr, pa.array(flat, pa.float32()))


def _inserted(users: np.ndarray, train: Histories, added: Histories, seed: int) -> pa.ListArray:
    """The order of a user's items if each added one is inserted at a random place among the observed ones.

    Llama4Rec (arXiv 2401.13870), data augmentation for sequential recommendation.
    """
    orders = []
    for user, own, more in zip(users.tolist(), train.lengths, added.lengths, strict=True):
        rng = rng_of(seed, user)
        time = np.concatenate([np.arange(own), rng.integers(0, own + 1, more) - 0.5])
        orders.append(np.argsort(time, kind="stable"))
    return _lists(Histories.of(orders))


def _lists(rows: Histories) -> pa.ListArray:
    return lists_of(rows.indptr, pa.array(rows.items, pa.int32()))


def _cut(batch: pa.Table) -> tuple[np.ndarray, Histories, np.ndarray]:
    """The users, their training items, and the float32 weights of these items."""
    lists = batch["items"].combine_chunks()
    lengths = lengths_of(lists)
    ends = batch["train_end"].to_numpy().astype(np.int64)
    items = lists.flatten().to_numpy().astype(np.int32)
    early = places_of(lengths) < np.repeat(ends, lengths)
    train = Histories(offsets_of(ends), items[early])
    return batch["user"].to_numpy(), train, observed_weights(batch, early)
