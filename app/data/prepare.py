"""prepare: raw interactions and a catalogue become `data/`: histories with a split, items with slices.

Interactions pass through Ray Data once to be checked, once through a shuffle that brings a user's together;
from there they stay one row per user. The driver holds the catalogue and sums, never a table of users.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from app.cluster import connect
from app.data import catalogue as items
from app.data.filters import Scan, encode, scan
from app.data.histories import drop, flat, fold, item_counts, number, recode, split, split_counts
from app.data.sources import open_source
from app.errors import InputError
from app.recipe import Dataset, Recipe
from app.workspace import Workspace

if TYPE_CHECKING:
    from ray.data import Dataset as Rows

MEANING = 1
"""The version of the data that equal files and settings give: raised whenever they change."""
ROWS_PER_PARTITION = 250_000
LEAST_PARTITIONS = 4
_CUT_BINS = 1024


def prepare(recipe: Recipe, ws: Workspace) -> None:
    """Publish `data/`: items.parquet, histories/ and, of the simulated store, truth/.

    Raises InputError for bad input and where the filters leave nothing.
    """
    dataset = recipe.dataset
    source = open_source(recipe)
    settings = {"dataset": dataset.model_dump(mode="json"), "files": source.files}
    if dataset.source == "simulated" or dataset.split == "published":
        settings["seed"] = recipe.seed
    stage = ws.stage("data", settings, meaning=MEANING)
    if stage.up_to_date:
        return
    ws.claim()
    listed, changed = items.clean_catalogue(source.catalogue(), source.listing)
    connect(recipe.resources)
    with stage.publishing() as draft:
        raw = source.interactions().materialize()
        scanned = scan(raw, source, dataset.min_rating)
        catalogue, unlisted = items.with_unlisted(listed, scanned.items)
        histories = _fold(raw, catalogue, dataset.min_rating, scanned.accepted)
        histories, catalogue, dropped = _filter(histories, catalogue, dataset.k_core, scanned)
        cuts = _cuts(histories, dataset, scanned) if dataset.split == "temporal" else None
        histories = _map(histories, split, dataset, cuts, recipe.seed).materialize()
        totals = _totals(histories, split_counts, catalogue.num_rows)
        table = items.items_table(catalogue, totals["train_count"], dataset.tail_max, dataset.head_share)
        stage.counts |= {
            "rows": scanned.rows,
            **_counts(table, totals, dataset, cuts),
            "dropped": dropped,
            "changed": changed | {"item_unlisted": unlisted},
        }
        if not stage.counts["train"]:
            raise InputError("dataset: the split leaves nothing to train. Lower valid_share or test_share.")
        (draft / "items.parquet").write_table(table)
        coded = _number(histories)
        coded.write_parquet((draft / "histories").path, filesystem=draft.fs)
        if dataset.source == "simulated":
            from app.data.simulate import write_truth

            write_truth(draft / "truth", coded, dataset.simulation, recipe.seed)


def _map(rows: "Rows", function: Callable[..., pa.Table], *arguments: Any) -> "Rows":
    """`function(block, *arguments)` on every block."""
    return rows.map_batches(
        lambda block: function(block, *arguments),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
    )


def _fold(raw: "Rows", catalogue: pa.Table, min_rating: float | None, accepted: int) -> "Rows":
    """One row per user: the only shuffle, by user."""
    partitions = max(LEAST_PARTITIONS, -(-accepted // ROWS_PER_PARTITION))
    encoded = _map(raw, encode, catalogue["item_id"].combine_chunks(), min_rating)
    # A shuffle by key gives one block per partition, whatever its size: a block has all rows of its users.
    return _map(encoded.repartition(partitions, keys=["user_id"]), fold).materialize()


def _totals(
    rows: "Rows", function: Callable[..., dict[str, np.ndarray]], *arguments: Any
) -> dict[str, np.ndarray]:
    """The sum over blocks of the arrays that `function(block, *arguments)` returns."""

    def one_row(block: pa.Table) -> pa.Table:
        return pa.table({name: [value] for name, value in function(block, *arguments).items()})

    totals: dict[str, np.ndarray] = {}
    for batch in _map(rows, one_row).iter_batches(batch_size=None, batch_format="pyarrow"):
        for name in batch.column_names:
            for value in batch[name]:
                totals[name] = totals.get(name, 0) + value.values.to_numpy()
    return totals


def _filter(
    histories: "Rows", catalogue: pa.Table, k_core: int, scanned: Scan
) -> tuple["Rows", pa.Table, dict[str, int]]:
    """Histories and catalogue after the k-core, and all dropped interactions by reason.

    Items that the k-core drops leave the catalogue; those that nobody has met stay, as cold ones.
    """
    met = _item_totals(histories, catalogue.num_rows)
    dropped = scanned.dropped | {"duplicate": scanned.accepted - int(met.sum()), "k_core": 0}
    if not k_core:
        return histories, catalogue, dropped
    histories, core = _k_core(histories, met, k_core)
    stay = (core > 0) | (met == 0)
    dropped["k_core"] = int(met.sum() - core.sum())
    return _map(histories, recode, np.cumsum(stay) - 1), catalogue.filter(pa.array(stay)), dropped


def _item_totals(histories: "Rows", n_items: int) -> np.ndarray:
    return _totals(histories, item_counts, n_items)["count"]


def _k_core(histories: "Rows", counts: np.ndarray, k: int) -> tuple["Rows", np.ndarray]:
    """Drop items and users of fewer than k interactions until there are none; and the interactions per item.

    Raises InputError where nothing is left.
    """
    while True:
        histories = _map(histories, drop, counts < k, k).materialize()
        before, counts = (
            counts,
            _item_totals(histories, len(counts)) if histories.count() else np.zeros_like(counts),
        )
        if not counts.sum():
            raise InputError(f"dataset.k_core = {k} leaves no interactions. Lower it.")
        if counts.sum() == before.sum():
            return histories, counts


def _cuts(histories: "Rows", dataset: Dataset, scanned: Scan) -> tuple[int, int]:
    """The times where validation and test begin."""
    histories = histories.materialize()
    return (
        _cut(histories, dataset.test_share + dataset.valid_share, scanned),
        _cut(histories, dataset.test_share, scanned),
    )


def _cut(histories: "Rows", share: float, scanned: Scan) -> int:
    """The first time such that at most `share` of all interactions lie at or after it.

    Found exactly, by ever finer histograms: no sort over all users, and the driver holds a thousand sums.
    """
    low, high = scanned.first_time, scanned.last_time + 1
    while low < high:
        edges = np.array(sorted({low + (high - low) * step // _CUT_BINS for step in range(_CUT_BINS + 1)}))
        totals = _totals(histories, _not_before, edges)
        enough = totals["not_before"] <= int(share * totals["all"][0])
        place = int(np.argmax(enough))
        low, high = int(edges[place - 1]) + 1 if place else int(edges[0]), int(edges[place])
    return high


def _not_before(histories: pa.Table, edges: np.ndarray) -> dict[str, np.ndarray]:
    """How many interactions are at or after each edge, and how many there are."""
    times = np.sort(flat(histories)[2])
    return {"not_before": len(times) - np.searchsorted(times, edges), "all": np.array([len(times)])}


def _counts(
    table: pa.Table, totals: dict[str, np.ndarray], dataset: Dataset, cuts: tuple[int, int] | None
) -> dict[str, Any]:
    """What the manifest says about the prepared data.

    `held_out_only`: users and items that have validation or test interactions but none to train on.
    """
    slices = table["slice"].to_numpy()
    train_count = table["train_count"].to_numpy()
    interactions, train, valid, test = (int(total) for total in totals["interactions"])
    head = train_count[slices == items.HEAD]
    edges = {
        "tail_max": dataset.tail_max,
        "head_min": int(head.min()) if len(head) else None,
        "sparse_max": dataset.sparse_max,
        "active_min": dataset.active_min,
    }
    if cuts:
        edges |= {"valid_from": cuts[0], "test_from": cuts[1]}
    return {
        "users": int(totals["users"].sum()),
        "items": table.num_rows,
        "interactions": interactions,
        "train": train,
        "valid": valid,
        "test": test,
        "held_out_only": {
            "users": int(totals["users_held_out_only"][0]),
            "items": int(((train_count == 0) & (totals["held_out_count"] > 0)).sum()),
        },
        "slices": {
            "items": {name: int((slices == name).sum()) for name in items.SLICES},
            "users": dict(zip(("sparse", "regular", "active"), totals["users"].tolist(), strict=True)),
            "edges": edges,
        },
    }


def _number(histories: "Rows") -> "Rows":
    """Rows of schema.HISTORIES: users get dense codes, block after block."""
    blocks = _map(histories, _first_user).take_all()
    starts, total = {}, 0
    for block in sorted(blocks, key=lambda block: block["user_id"]):
        starts[block["user_id"]] = total
        total += block["users"]
    return _map(histories, number, starts)


def _first_user(histories: pa.Table) -> pa.Table:
    return pa.table(
        {"user_id": histories["user_id"][:1], "users": [histories.num_rows] if histories.num_rows else []}
    )
