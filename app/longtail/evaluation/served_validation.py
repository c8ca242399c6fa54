"""NDCG on validation of a fit: alone, fused with the LLM's list, and, as a control, fused with a recommender's list.

How the list is fused is chosen on the validation items, for each fit, so that no slice of the recipe's constraint is lower
than without the list. The test is then ranked once, with this choice.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from longtail.aggregation.choice import Kind
from longtail.aggregation.formulas import BUCKETS, places
from longtail.aggregation.fused import Fused
from longtail.aggregation.kinds import ALONE, KINDS, Bucketed, Fusion, Weighted, read_fusion
from longtail.evaluation.bucket_weights import FOLDS, fitted, out_of_fold
from longtail.evaluation.constrained_choice import Changes, K, best_within, ndcg_by_slice, shortfall
from longtail.evaluation.fusion_grid import GRID, UNTRIED, UTILITIES, WEIGHTS, uniform_columns
from longtail.evaluation.ranks import rank_targets, ranks_table, ranks_writer
from longtail.evaluation.slices import Membership
from longtail.evaluation.targets import Part, read_targets
from longtail.ranking_metrics import METRICS, per_user
from longtail.recipe import Constraint
from longtail.recommenders.recommender import Recommender
from longtail.workspace.place import Place

CELLS = FOLDS * BUCKETS
"""The users are counted by fold and sparsity bucket: cell = fold * BUCKETS + bucket."""


@dataclass(frozen=True)
class Candidate:
    """A fusion with its sum of NDCG@10 over the users, and its changes against the recommender without a list."""

    fusion: Fusion
    ndcg: float
    changes: Changes

    def shortfall(self, constraint: Constraint) -> float:
        return shortfall(self.changes.of_candidate(0), constraint)


@dataclass(frozen=True)
class Tried:
    """Sums over the users with a validation item, by cell; the sums of parts can be added.

    users int64 [CELLS]. alone float64 [CELLS]: NDCG@10 of the recommender without a list. ndcg, alpha float64 [CELLS, GRID]:
    NDCG@10 and alpha_u with each fusion. changes: of each cell, those of each fusion against the recommender without a list.
    """

    users: np.ndarray
    alone: np.ndarray
    ndcg: np.ndarray
    alpha: np.ndarray
    changes: tuple[Changes, ...] = field(default=(Changes(),) * CELLS)

    def __add__(self, other: "Tried") -> "Tried":
        sums = (getattr(self, name) + getattr(other, name) for name in ("users", "alone", "ndcg", "alpha"))
        return Tried(*sums, tuple(one + more for one, more in zip(self.changes, other.changes, strict=True)))

    @classmethod
    def none(cls) -> "Tried":
        return cls(np.zeros(CELLS, np.int64), np.zeros(CELLS), *np.zeros((2, CELLS, len(GRID))))

    @property
    def n(self) -> int:
        return int(self.users.sum())

    @cached_property
    def candidates(self) -> list[Candidate]:
        """Every fusion of GRID, then `bucketed` with each utility, as measured out of fold. Empty without users."""
        if not self.n:
            return []
        whole, total = sum(self.changes, Changes()), self.ndcg.sum(axis=0)
        tried = [Candidate(one, float(total[at]), whole.only(at)) for at, one in enumerate(GRID)]
        sums = self.users, self.ndcg, self.alpha
        by_fold = [one.reshape(FOLDS, BUCKETS, *one.shape[1:]) for one in sums]
        for utility in UTILITIES:
            columns = np.array(uniform_columns(utility))
            of_cell = columns[out_of_fold(*by_fold, utility)].ravel()
            weights = fitted(*(one.sum(axis=0) for one in by_fold), utility)
            changes = (own.only(at) for own, at in zip(self.changes, of_cell, strict=True))
            ndcg = float(self.ndcg[np.arange(CELLS), of_cell].sum())
            fusion = Bucketed(tuple(WEIGHTS[at] for at in weights), utility)
            tried.append(Candidate(fusion, ndcg, sum(changes, Changes())))
        return tried

    def best(self, constraint: Constraint, kind: str | None = None) -> Kind:
        """The best candidate that meets the constraint, of one kind or of all, the first if several are equal.

        If none meets it, ALONE. Without validation items, UNTRIED.
        """
        if not self.n:
            return Kind(UNTRIED, None)
        of_kind = [one for one in self.candidates if kind in (None, one.fusion.kind)]
        found = best_within([one.ndcg for one in of_kind], [one.shortfall(constraint) for one in of_kind])
        chosen = self.candidates[GRID.index(ALONE)] if found is None else of_kind[found]
        return Kind(chosen.fusion, chosen.ndcg / self.n)

    def kinds(self, constraint: Constraint) -> dict[str, Kind]:
        """The best of each kind; see `best`. Without validation items, UNTRIED alone."""
        return {kind: self.best(constraint, kind) for kind in (KINDS if self.n else [UNTRIED.kind])}

    def counts(self, constraint: Constraint | None = None) -> dict[str, Any]:
        """The validation entries of the manifest.

        `validation`: the number of users, and the mean NDCG@10 of the best fusion that meets the constraint; without a
        constraint that of the recommender alone. `serving`, only with one: the fusion, its NDCG@10, that of the recommender
        alone, and that of the best fusion without a constraint (`free`); and the best of each kind.
        """
        alone = float(self.alone.sum()) / self.n if self.n else None
        if constraint is None:
            return {"validation": {"users": self.n, "ndcg": alone}}
        chosen, kinds = self.best(constraint), self.kinds(constraint)
        found = {"fusion": chosen.fusion.told(), "validation_users": self.n}
        if self.n:
            free = max(one.ndcg for one in self.candidates) / self.n
            found |= {
                "validation_ndcg": chosen.ndcg,
                "validation_ndcg_alone": alone,
                "validation_ndcg_free": free,
            }
        found["kinds"] = {name: own.told() for name, own in kinds.items()}
        return {"validation": {"users": self.n, "ndcg": chosen.ndcg}, "serving": found}


def chosen_in(counts: dict[str, Any]) -> Fusion:
    """The fusion that `Tried.counts` wrote to a manifest."""
    return read_fusion(counts["serving"]["fusion"])


def kinds_in(counts: dict[str, Any]) -> dict[str, Kind]:
    """The best of each kind that `Tried.counts` wrote to a manifest."""
    return {name: Kind.read(own) for name, own in counts["serving"]["kinds"].items()}


def try_fit(model: Recommender, part: Part, to: Place) -> Tried:
    """The sums of the recommender alone, for the users of `part`. Their training items are masked.

    Writes the ranks of the validation items, rows of RANKS, to `to`/ranks/`part.name`; 0 beyond K.
    """
    total = Tried.none()
    with ranks_writer(part, to) as writer:
        for users, rows, targets in read_targets(part, "valid"):
            lists, _ = model.recommend(users, min(K, model.n_items))
            ranks = rank_targets(lists, rows, targets)
            writer.write_table(ranks_table(users[rows], targets, ranks))
            total.users[0] += len(users)
            _, values = per_user(rows, ranks, [K])
            total.alone[0] += float(values[:, METRICS.index("ndcg"), 0].sum())
    return total


def try_fused(fused: Fused, slices: Membership, part: Part) -> Tried:
    """The sums of every fusion of GRID and of the recommender alone, for the users of `part`; see `try_fit`.

    slices: those of the constraint.
    """
    total = Tried.none()
    for users, rows, targets in read_targets(part, "valid"):
        union, asked = fused.union(users, None), fused.interactions(users, None)
        columns = union.column_of(rows, targets)
        alpha = np.stack([one.alpha(asked, fused.sparsity) for one in GRID], axis=1)
        place = np.zeros((len(targets), len(GRID) + 1), np.int64)
        parts = {utility: union.utilities(utility) for utility in UTILITIES}
        for number, one in enumerate(GRID):
            of_lists = parts[one.utility] if isinstance(one, Weighted) else one.parts(union)
            joined = np.where(union.items >= 0, one.joined(alpha[:, number], *of_lists), -np.inf)
            place[:, number] = places(joined, rows, columns)
        place[:, -1] = np.where(columns >= 0, union.recommender_place[rows, columns], 0)
        cells = users % FOLDS * BUCKETS + fused.sparsity.bucket(asked)
        total += _summed(cells, rows, place, alpha, slices, slices.of(users[rows], targets))
    return total


def _summed(
    cells: np.ndarray,
    rows: np.ndarray,
    place: np.ndarray,
    alpha: np.ndarray,
    slices: Membership,
    inside: np.ndarray,
) -> Tried:
    """Of users in these cells int [n], from the places int [targets, GRID + 1] of their targets.

    rows int [targets]: the user of each target, each user at least once. alpha float64 [n, GRID]. inside bool [targets,
    slices].
    """
    everywhere = np.ones((len(rows), 1), bool)
    whole, *by_slice = ndcg_by_slice(rows, np.concatenate([everywhere, inside], axis=1), place)
    in_cell = (cells == np.arange(CELLS)[:, None]).astype(np.float64)
    changes = [{} for _ in range(CELLS)]
    for name, own, values in zip(slices.names, inside.T, by_slice, strict=True):
        of_users = cells[np.unique(rows[own])]
        for cell in np.unique(of_users):
            moved = values[of_users == cell]
            changes[cell][name] = (moved[:, :-1] - moved[:, -1:])[:, None]
    sums = in_cell @ whole
    return Tried(
        np.bincount(cells, minlength=CELLS),
        sums[:, -1],
        sums[:, :-1],
        in_cell @ alpha,
        tuple(Changes.of(own) for own in changes),
    )
