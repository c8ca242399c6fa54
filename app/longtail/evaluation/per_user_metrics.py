"""Per-user values of all variants of one recommender on one slice, read part by part from the ranks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from longtail.evaluation.crossed import Crossed
from longtail.evaluation.slices import members
from longtail.ranking_metrics import Moments, per_user, per_user_sampled
from longtail.recipe import Evaluation
from longtail.variants import contrasts
from longtail.workspace.place import Place

TARGETS_AT_ONCE = 2**14
"""About this many targets have their values in memory at a time, for every variant and pair."""


@dataclass
class Compared:
    """The metrics of each variant on one slice; the parts of a slice can be added.

    targets: their number. values, by variant: Moments over users of their means over the pairs [metrics, ks].
    differences, by (variant, base) in the order of the contrasts: Crossed of [metrics, ks]. moved float64 [users, contrasts,
    metrics, ks]: the differences of the users who have one that is not 0, for the contrasts `of_one_pair` alone.
    """

    targets: int
    values: dict[str, Moments]
    differences: dict[tuple[str, str], Crossed]
    moved: list[np.ndarray]

    @property
    def n(self) -> int:
        return next(iter(self.values.values())).n

    @property
    def of_one_pair(self) -> list[tuple[str, str]]:
        """The contrasts of two variants that have one evaluation each."""
        return [contrast for contrast, own in self.differences.items() if own.pairs == 1]

    def __add__(self, other: "Compared") -> "Compared":
        return Compared(
            self.targets + other.targets,
            {name: own + other.values[name] for name, own in self.values.items()},
            {contrast: own + other.differences[contrast] for contrast, own in self.differences.items()},
            self.moved + other.moved,
        )

    @classmethod
    def of(
        cls, values: Mapping[str, np.ndarray], targets: int, compared: Sequence[tuple[str, str]]
    ) -> "Compared":
        """From values [users, pairs, metrics, ks] of each variant; those of one pair stand beside every pair.

        compared: the contrasts, as (variant, base).
        """
        differences, single = {}, []
        for variant, base in compared:
            difference = values[variant] - values[base]
            differences[variant, base] = Crossed.of(difference)
            if difference.shape[1] == 1:
                single.append(difference)
        users, _, *cells = next(iter(values.values())).shape
        stacked = np.concatenate(single, axis=1) if single else np.empty((users, 0, *cells))
        return cls(
            targets,
            {variant: Moments.of(own.mean(axis=1)) for variant, own in values.items()},
            differences,
            [stacked[(stacked != 0).any(axis=(1, 2, 3))]],
        )


def compare_slice(
    name: str,
    variants: dict[str, list[Place]],
    data: Place,
    settings: Evaluation,
    compared: Sequence[tuple[str, str]] | None = None,
) -> Compared | None:
    """The metrics of each variant on slice `name`. None if no user is in it.

    `variants` maps each variant to its evaluation places: the i-th is that of pair i, and a single one serves all pairs.
    compared: the contrasts, as (variant, base); by default those of `variants.contrasts`. Raises ValueError if the
    evaluations have different targets, or their numbers do not fit.
    """
    _check_pairs(variants)
    compared = contrasts(variants) if compared is None else compared
    is_member, found = members(name, data), None
    for tables in _parts(variants):
        base = next(iter(tables.values()))[0]
        users = base["user"].to_numpy()
        chosen = is_member(users, base["item"].to_numpy())
        blocks = -(-len(users) // TARGETS_AT_ONCE)
        for block in range(blocks):
            own = chosen & (users % blocks == block)
            if own.any():
                values = {variant: _of_pairs(pairs, own, settings) for variant, pairs in tables.items()}
                part = Compared.of(values, int(np.count_nonzero(own)), compared)
                found = part if found is None else found + part
    return found


def _check_pairs(variants: dict[str, list[Place]]) -> None:
    pairs = max(len(places) for places in variants.values())
    for variant, places in variants.items():
        if len(places) not in (1, pairs):
            raise ValueError(
                f"{variant} has {len(places)} evaluations, another variant has {pairs}: give one for each pair of a"
                " generator and a seed, or a single one"
            )


def _parts(variants: dict[str, list[Place]]) -> Iterator[dict[str, list[pa.Table]]]:
    """The ranks of each variant and pair, part by part: the same targets in the same order."""
    files = {
        variant: [(place / "ranks").files(".parquet") for place in places]
        for variant, places in variants.items()
    }
    first = next(iter(files))
    names = [file.name for file in files[first][0]]
    for variant, pairs in files.items():
        if any([file.name for file in own] != names for own in pairs):
            raise ValueError(f"{variant} and {first} were evaluated on different parts of the data")
    for number, name in enumerate(names):
        tables = {variant: [own[number].read_table() for own in pairs] for variant, pairs in files.items()}
        base = tables[first][0].select(["user", "item"])
        for variant, pairs in tables.items():
            if not all(table.select(["user", "item"]).equals(base) for table in pairs):
                raise ValueError(f"{variant} and {first} were evaluated on different targets, in {name}")
        yield tables


def _of_pairs(pairs: list[pa.Table], chosen: np.ndarray, settings: Evaluation) -> np.ndarray:
    """Per-user values on the chosen targets: float64 [users, pairs, metrics, ks]."""
    return np.stack([_values(table, chosen, settings) for table in pairs], axis=1)


def _values(table: pa.Table, chosen: np.ndarray, settings: Evaluation) -> np.ndarray:
    users = table["user"].to_numpy()[chosen]
    _, values = per_user(users, table["rank"].to_numpy()[chosen], settings.ks)
    if not settings.sampled_negatives:
        return values
    _, sampled = per_user_sampled(users, table["sampled_rank"].to_numpy()[chosen], settings.ks)
    return np.concatenate([values, sampled], axis=1)
