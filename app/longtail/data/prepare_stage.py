"""prepare: raw interactions and a catalogue become `data/`: histories with a split, items with slices.

Ray Data reads the interactions once to check them and once to shuffle them by user. After that there is one row per user.
The driver holds the catalogue and sums, never a table of users.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from longtail.data import catalogue as items
from longtail.data.catalogue_ids import join
from longtail.data.evaluable import check_evaluable
from longtail.data.filters import Scan, encode, scan
from longtail.data.histories import (
    drop,
    flat,
    fold,
    item_counts,
    number,
    recode,
    split,
    split_counts,
    with_more_known,
)
from longtail.data.prepared import Prepared
from longtail.data.source import CATALOGUE, Source
from longtail.data.source_kinds import open_source
from longtail.data.sparsity import shorten, smallest_numbers, thin, thresholds
from longtail.data.timeline import clash_message, clashes
from longtail.errors import InputError
from longtail.recipe import Dataset, Recipe
from longtail.rounds import Round, last_round
from longtail.runtime.cluster import connect
from longtail.workspace import Workspace
from longtail.workspace.place import Place

if TYPE_CHECKING:
    from ray.data import Dataset as Rows

MEANING = 2
"""The version of this code: raise it if equal files and settings give other data."""
SPARSITY = ("history_max", "item_max")
"""The settings that make data thinner on purpose, in the order in which they are applied."""
ROWS_PER_PARTITION = 250_000
LEAST_PARTITIONS = 4
_CUT_BINS = 1024


def prepare(recipe: Recipe, ws: Workspace) -> None:
    """Publish the data of each round: items.parquet, histories/ and, of the simulated store, truth/.

    Raises InputError for bad input, and if the filters leave nothing.
    """
    _prepare_first(recipe, ws)
    if last_round(recipe).final:
        prepare_known(recipe, ws, last_round(recipe))


def _prepare_first(recipe: Recipe, ws: Workspace) -> None:
    """Publish `data/`, whose training part ends before the validation items."""
    dataset = recipe.dataset
    simulated = dataset.source == "simulated"
    source = open_source(recipe)
    # Data that were prepared before a setting was there must not be prepared again for its default.
    later: dict[str, Any] = {name: True for name in (*SPARSITY, "events") if getattr(dataset, name) is None}
    if not simulated:
        later["simulation"] = {"title_signal"}
    if dataset.split != "cold":
        later["cold_share"] = True
    settings = {"dataset": dataset.model_dump(mode="json", exclude=later), "files": source.files}
    if simulated:
        settings["simulator"] = dataset.simulation.meaning
    if simulated or dataset.split in ("published", "cold") or dataset.item_max:
        settings["seed"] = recipe.seed
    stage = ws.stage("data", settings, meaning=MEANING)
    if stage.up_to_date:
        return
    ws.claim()
    listed, changed = items.clean_catalogue(source.catalogue(), source.listing, dataset.null_words)
    connect(recipe.resources)
    with stage.publishing() as draft:
        raw = source.interactions().materialize()
        scanned = scan(raw, source, dataset)
        listed, rewritten, listed_and_met = join(listed, scanned.items, source.listing)
        catalogue, unlisted = items.with_unlisted(listed, scanned.items)
        histories = _fold(raw, catalogue, dataset, scanned, source)
        histories, catalogue, dropped = _filter(histories, catalogue, dataset.k_core, scanned)
        cuts = _cuts(histories, dataset, scanned) if dataset.split == "temporal" else None
        histories = _map(histories, split, dataset, cuts, recipe.seed).materialize()
        totals = _totals(histories, split_counts, catalogue.num_rows)
        dropped["duplicate"] = scanned.accepted - dropped["k_core"] - _rows(totals, dataset)
        histories, totals, thinned = _thinned(histories, totals, dataset, recipe.seed)
        dropped |= thinned
        table = items.items_table(catalogue, totals["train_count"], dataset.tail_max, dataset.head_share)
        stage.counts |= {
            "rows": scanned.rows,
            **_counts(table, totals, dataset, cuts),
            "dropped": dropped,
            "items_listed_and_met": listed_and_met,
            "changed": changed | {"item_id_rewritten": rewritten, "item_unlisted": unlisted},
        }
        if simulated:
            stage.counts["title_signal"] = dataset.simulation.title_signal
        check_evaluable(totals, table.num_rows, dataset)
        (draft / "items.parquet").write_table(table)
        coded = _number(histories)
        coded.write_parquet((draft / "histories").path, filesystem=draft.fs)
        _write_truth(recipe, coded, draft)


def prepare_known(recipe: Recipe, ws: Workspace, round_: Round) -> None:
    """Publish the data of a later round from those of the first one: the same histories and catalogue, but the validation
    items belong to the training part; if the whole log is known in this round, the test items too.

    Raises InputError if `prepare` has not run.
    """
    dataset, place = recipe.dataset, round_.data
    edges = {name: getattr(dataset, name) for name in ("tail_max", "head_share", "sparse_max", "active_min")}
    limits = {name: getattr(dataset, name) for name in SPARSITY if getattr(dataset, name)}
    stage = ws.stage(place, edges | limits, [ws / "data"], MEANING)
    if stage.up_to_date:
        return
    ws.claim()
    connect(recipe.resources)
    first = Prepared(ws)
    histories = _map(first.histories(), with_more_known, dataset, round_.whole)
    with stage.publishing() as draft:
        totals = _totals(histories, split_counts, first.n_items)
        histories, totals, thinned = _thinned(histories, totals, dataset, recipe.seed)
        dropped = first.counts["dropped"]
        dropped = dropped | {name: dropped[name] + rows for name, rows in thinned.items()}
        catalogue = first.items.select(CATALOGUE.names)
        table = items.items_table(catalogue, totals["train_count"], dataset.tail_max, dataset.head_share)
        cuts = tuple(first.counts["slices"]["edges"].get(name) for name in ("valid_from", "test_from"))
        counts = _counts(table, totals, dataset, cuts if cuts[0] is not None else None)
        stage.counts = first.counts | counts | {"dropped": dropped}
        (draft / "items.parquet").write_table(table)
        histories.write_parquet((draft / "histories").path, filesystem=draft.fs)
        _write_truth(recipe, histories, draft)


def _write_truth(recipe: Recipe, histories: "Rows", draft: Place) -> None:
    if recipe.dataset.source == "simulated":
        from longtail.data.simulation import write_truth

        write_truth(draft / "truth", histories, recipe.dataset.simulation, recipe.seed)


def _map(rows: "Rows", function: Callable[..., pa.Table], *arguments: Any) -> "Rows":
    """`function(block, *arguments)` on every block."""
    return rows.map_batches(
        lambda block: function(block, *arguments),
        batch_size=None,
        batch_format="pyarrow",
        zero_copy_batch=True,
    )


def _fold(raw: "Rows", catalogue: pa.Table, dataset: Dataset, scanned: Scan, source: Source) -> "Rows":
    """One row per user: the only shuffle, by user. Raises InputError if two times of a user would become equal."""
    partitions = max(LEAST_PARTITIONS, -(-scanned.accepted // ROWS_PER_PARTITION))
    codes = catalogue["item_id"].combine_chunks()
    encoded = _map(raw, encode, codes, dataset, scanned.times.scale)
    # A shuffle by key gives one block per partition, so a block has all rows of its users.
    by_user = encoded.repartition(partitions, keys=["user_id"])
    if scanned.times.finer:
        by_user = by_user.materialize()
        found = _map(by_user, clashes).take_all()
        if found:
            raise InputError(clash_message(min(found, key=lambda clash: clash["row"]), source.where))
    return _map(by_user, fold, dataset.repeats).materialize()


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
    """Histories and catalogue after the k-core, and the number of dropped interactions by reason.

    Items that the k-core drops leave the catalogue. Items without any interaction stay, as cold items.
    """
    dropped = scanned.dropped | {"duplicate": 0, "k_core": 0}
    if not k_core:
        return histories, catalogue, dropped
    met = _totals(histories, item_counts, catalogue.num_rows)
    histories, core = _k_core(histories, met, k_core)
    stay = (core["users"] > 0) | (met["users"] == 0)
    dropped["k_core"] = int(met["count"].sum() - core["count"].sum())
    return _map(histories, recode, np.cumsum(stay) - 1), catalogue.filter(pa.array(stay)), dropped


def _k_core(histories: "Rows", totals: dict[str, np.ndarray], k: int) -> tuple["Rows", dict[str, np.ndarray]]:
    """Drop items with fewer than k users and users with fewer than k items, until none is left; and the new totals.

    Raises InputError if no interaction is left.
    """
    while True:
        before = totals["users"]
        histories = _map(histories, drop, before < k, k).materialize()
        if not histories.count():
            raise InputError(f"dataset.k_core = {k} leaves no interactions. Lower it.")
        totals = _totals(histories, item_counts, len(before))
        if totals["users"].sum() == before.sum():
            return histories, totals


def _thinned(
    histories: "Rows", totals: dict[str, np.ndarray], dataset: Dataset, seed: int
) -> tuple["Rows", dict[str, np.ndarray], dict[str, int]]:
    """Histories after the cuts of SPARSITY, their totals, and the number of dropped interactions by cut.

    The driver holds at most `item_max` numbers of each item.
    """
    dropped, n_items = {}, len(totals["train_count"])
    for name in SPARSITY:
        if (most := getattr(dataset, name)) is None:
            continue
        if name == "history_max":
            histories = _map(histories, shorten, dataset).materialize()
        else:
            drawn = _map(histories, smallest_numbers, most, seed)
            blocks = list(drawn.iter_batches(batch_size=None, batch_format="pyarrow"))
            histories = _map(histories, thin, thresholds(blocks, n_items, most), dataset, seed).materialize()
        before, totals = totals, _totals(histories, split_counts, n_items)
        dropped[name] = _rows(before, dataset) - _rows(totals, dataset)
    return histories, totals, dropped


def _rows(totals: dict[str, np.ndarray], dataset: Dataset) -> int:
    """The number of rows of the log that are in histories with these totals."""
    repeats = totals["repeats"][0] if dataset.repeats == "weight" else 0
    return int(totals["interactions"][0] + repeats)


def _cuts(histories: "Rows", dataset: Dataset, scanned: Scan) -> tuple[int, int]:
    """The times at which validation and test begin."""
    histories = histories.materialize()
    return (
        _cut(histories, dataset.test_share + dataset.valid_share, scanned),
        _cut(histories, dataset.test_share, scanned),
    )


def _cut(histories: "Rows", share: float, scanned: Scan) -> int:
    """The first time such that at most `share` of all interactions are at or after it.

    It is exact, by histograms that become finer: no sort over all users, and the driver holds a thousand sums.
    """
    low, high = scanned.times.first_time, scanned.times.last_time + 1
    while low < high:
        edges = sorted({low + (high - low) * step // _CUT_BINS for step in range(_CUT_BINS)})
        totals = _totals(histories, _not_before, np.array(edges, np.int64))
        enough = totals["not_before"] <= int(share * totals["all"][0])
        place = int(np.argmax(enough)) if enough.any() else len(edges)
        low = edges[place - 1] + 1 if place else low
        high = edges[place] if place < len(edges) else high
    return high


def _not_before(histories: pa.Table, edges: np.ndarray) -> dict[str, np.ndarray]:
    """The number of interactions at or after each edge, and of all."""
    times = np.sort(flat(histories)[2])
    return {"not_before": len(times) - np.searchsorted(times, edges), "all": np.array([len(times)])}


def _counts(
    table: pa.Table, totals: dict[str, np.ndarray], dataset: Dataset, cuts: tuple[int, int] | None
) -> dict[str, Any]:
    """The counts of the prepared data for the manifest.

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
        "repeats": int(totals["repeats"][0]),
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
    """Rows of schema.HISTORIES: users get dense codes, one block after the other."""
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
