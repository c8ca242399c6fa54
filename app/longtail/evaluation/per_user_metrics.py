"""Per-user values of all variants of one recommender on one slice, read part by part from the ranks."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from longtail.evaluation.slices import members
from longtail.ranking_metrics import Moments, per_user, per_user_sampled
from longtail.recipe import Evaluation
from longtail.variants import contrasts
from longtail.workspace.place import Place


@dataclass
class Compared:
    """The metrics of each variant on one slice; the parts of a slice can be added.

    values, by variant, and differences, by (variant, base) in the order of `contrasts`, are Moments over users, of
    shape [metrics, ks]. moved float64 [users, contrasts, metrics, ks]: the differences of the users who have one that
    is not 0.
    """

    values: dict[str, Moments]
    differences: dict[tuple[str, str], Moments]
    moved: list[np.ndarray]

    @property
    def n(self) -> int:
        return self.values["observed"].n

    def __add__(self, other: "Compared") -> "Compared":
        return Compared(
            {name: own + other.values[name] for name, own in self.values.items()},
            {pair: own + other.differences[pair] for pair, own in self.differences.items()},
            self.moved + other.moved,
        )

    @classmethod
    def of(cls, values: dict[str, np.ndarray]) -> "Compared":
        """From values [users, metrics, ks] of each variant."""
        shape = values["observed"].shape
        pairs = contrasts(values)
        stacked = np.empty((shape[0], len(pairs), *shape[1:]))
        for column, (variant, base) in enumerate(pairs):
            stacked[:, column] = values[variant] - values[base]
        return cls(
            {variant: Moments.of(own) for variant, own in values.items()},
            {pair: Moments.of(stacked[:, column]) for column, pair in enumerate(pairs)},
            [stacked[(stacked != 0).any(axis=(1, 2, 3))]],
        )


def compare_slice(
    name: str, variants: dict[str, list[Place]], data: Place, settings: Evaluation
) -> Compared | None:
    """The metrics of each variant on slice `name`. None if no user is in it.

    `variants` maps each variant, `observed` among them, to its evaluation places, one per seed. The values of a user
    are averaged over the seeds. Raises ValueError if the evaluations have different targets.
    """
    is_member, found = members(name, data), None
    for tables in _parts(variants):
        base = tables["observed"][0]
        chosen = is_member(base["user"].to_numpy(), base["item"].to_numpy())
        if chosen.any():
            part = Compared.of(
                {variant: _mean_over_seeds(seeds, chosen, settings) for variant, seeds in tables.items()}
            )
            found = part if found is None else found + part
    return found


def _parts(variants: dict[str, list[Place]]) -> Iterator[dict[str, list[pa.Table]]]:
    """The ranks of each variant and seed, part by part: the same targets in the same order."""
    files = {
        variant: [(place / "ranks").files(".parquet") for place in places]
        for variant, places in variants.items()
    }
    names = [file.name for file in files["observed"][0]]
    for variant, seeds in files.items():
        if any([file.name for file in own] != names for own in seeds):
            raise ValueError(f"{variant} and observed were evaluated on different parts of the data")
    for number, name in enumerate(names):
        tables = {variant: [own[number].read_table() for own in seeds] for variant, seeds in files.items()}
        base = tables["observed"][0].select(["user", "item"])
        for variant, seeds in tables.items():
            if not all(table.select(["user", "item"]).equals(base) for table in seeds):
                raise ValueError(f"{variant} and observed were evaluated on different targets, in {name}")
        yield tables


def _mean_over_seeds(seeds: list[pa.Table], chosen: np.ndarray, settings: Evaluation) -> np.ndarray:
    """Per-user values on the chosen targets: float64 [users, metrics, ks]."""
    return np.mean([_values(table, chosen, settings) for table in seeds], axis=0)


def _values(table: pa.Table, chosen: np.ndarray, settings: Evaluation) -> np.ndarray:
    users = table["user"].to_numpy()[chosen]
    _, values = per_user(users, table["rank"].to_numpy()[chosen], settings.ks)
    if not settings.sampled_negatives:
        return values
    _, sampled = per_user_sampled(users, table["sampled_rank"].to_numpy()[chosen], settings.ks)
    return np.concatenate([values, sampled], axis=1)
