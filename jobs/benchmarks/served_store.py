"""A finished workspace with random numbers in it, of any size: what `longtail serve` needs, written in seconds.

The vectors of LightGCN and the lists of the LLM are random. An answer costs the same whatever is in them.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from longtail.aggregation.artefact import fit_aggregator
from longtail.aggregation.choice import FIGURES, Figure, Kind, write_figures
from longtail.aggregation.kinds import Paper
from longtail.arrays import offsets_of
from longtail.recipe import Recipe
from longtail.recommenders import build
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.lightgcn import LightGCNSection
from longtail.schema import HISTORIES, ITEMS, RANKINGS
from longtail.workspace import Workspace, read_manifest

DATA, FIT, ANSWERS = "data", "recommenders/observed/lightgcn-0", "augmentation/next_item"
LISTED = 60
"""Items in a list of the LLM, as `next_item` makes it for MovieLens 1M."""
AT_ONCE = 100_000
"""Users that are written at a time."""


@dataclass(frozen=True)
class Size:
    """How large the store is. history: training items of a user."""

    users: int
    items: int
    history: int
    dim: int = 64


ML_1M = Size(users=6_038, items=3_533, history=93)
"""MovieLens 1M with ratings of 4 and 5."""


def write_store(folder: str, size: Size, seed: int = 7) -> tuple[Recipe, Workspace]:
    """Publish histories, a catalogue, a LightGCN, lists of the LLM and the artefact, and the recipe that names them."""
    rng = np.random.default_rng(seed)
    recipe = Recipe.model_validate({"name": "benchmark", "recommenders": {"lightgcn": {}}})
    ws = Workspace(folder, recipe.model_dump(mode="json"))
    seen = Histories(
        offsets_of(np.full(size.users, size.history)), _distinct(rng, size.users, size.history, size.items)
    )
    with ws.stage(DATA, {"store": [size.users, size.items, size.history], "seed": seed}).publishing() as data:
        counts = np.bincount(seen.items, minlength=size.items)
        items = {
            "item": np.arange(size.items),
            "item_id": [f"item-{item}" for item in range(size.items)],
            "title": [f"The title of item {item}, as long as a title is" for item in range(size.items)],
            "attributes": [[("genre", f"genre {item % 18}")] for item in range(size.items)],
            "train_count": counts,
            "slice": ["mid"] * size.items,
        }
        (data / "items.parquet").write_table(pa.table(items, ITEMS))
        for start in range(0, size.users, AT_ONCE):
            users = np.arange(start, min(start + AT_ONCE, size.users))
            rows = {
                "user": users,
                "user_id": [f"user-{user}" for user in users],
                "items": _rows(seen.items, users, size.history),
                "timestamps": _rows(np.arange(len(seen.items)), users, size.history),
                "train_end": np.full(len(users), size.history),
                "valid_end": np.full(len(users), size.history),
                "slice": ["active"] * len(users),
            }
            (data / f"histories/{start}.parquet").write_table(pa.table(rows, HISTORIES))
    with ws.stage(ANSWERS, {}, [ws / DATA]).publishing() as draft:
        listed = _distinct(rng, size.users, LISTED, size.items)
        scores = np.tile(np.linspace(0.9, 0.1, LISTED, dtype=np.float32), size.users)
        for start in range(0, size.users, AT_ONCE):
            users = np.arange(start, min(start + AT_ONCE, size.users))
            rows = {
                "user": users,
                "items": _rows(listed, users, LISTED),
                "scores": _rows(scores, users, LISTED),
            }
            (draft / f"rankings/{start}.parquet").write_table(pa.table(rows, RANKINGS))
    with ws.stage(FIT, {}, [ws / DATA]).publishing() as draft:
        model = build("lightgcn", LightGCNSection(dim=size.dim))
        model.n_items, model.seen = size.items, seen
        users, items, folds = (
            rng.normal(size=(rows, size.dim)).astype(np.float32)
            for rows in (size.users, size.items, size.items)
        )
        model.restore({"users": users, "items": items, "folds": folds, "warm": np.ones(size.items, bool)})
        model.save(draft)
    with ws.stage(FIGURES, {}).publishing() as draft:
        write_figures([_figure(ws, size)], draft)
    fit_aggregator(recipe, ws)
    return recipe, ws


def _figure(ws: Workspace, size: Size) -> Figure:
    fusion = Paper(0.7, 0.5)
    return Figure(
        recommender="lightgcn",
        variant="served",
        trained_on="observed",
        seed_index=0,
        control=False,
        list="next_item",
        fusion=fusion,
        kinds={"paper": Kind(fusion, 0.1)},
        candidates=50,
        users=size.users,
        ndcg=0.1,
        free=0.1,
        lost={},
        data=DATA,
        fit=FIT,
        answers=ANSWERS,
        made_of={place: read_manifest(ws / place)["fingerprint"] for place in (DATA, FIT, ANSWERS)},
    )


def _distinct(rng: np.random.Generator, rows: int, width: int, n_items: int) -> np.ndarray:
    """int32 [rows * width]: `width` distinct items in each row: a random start and a random step without common factor."""
    steps = rng.choice(np.flatnonzero(np.gcd(np.arange(n_items), n_items) == 1), size=rows)
    places = rng.integers(n_items, size=rows)[:, None] + steps[:, None] * np.arange(width)
    return (places % n_items).astype(np.int32).ravel()


def _rows(values: np.ndarray, users: np.ndarray, width: int) -> pa.ListArray:
    own = values[users[0] * width : (users[-1] + 1) * width]
    return pa.ListArray.from_arrays(np.arange(0, len(own) + 1, width, dtype=np.int32), pa.array(own))
