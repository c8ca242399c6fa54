"""Items that were added to a workspace after training (`longtail add-items`), as published beside what was trained.

They have the codes after the last one of the catalogue, so nothing that was made before them changes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from scipy.sparse import csr_matrix

from longtail.arrays import lengths_of, lists_of, offsets_of
from longtail.errors import InputError
from longtail.recommenders.models.neighbours import Neighbours
from longtail.recommenders.models.new_items import with_new_items
from longtail.recommenders.recommender import Recommender
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

ADDED = "added/items"
"""Where they are published, relative to the workspace."""
ITEMS = "items.parquet"
AGAIN = "Run longtail add-items again, with any file of items: those that it has are kept."


@dataclass(frozen=True)
class Added:
    """The items in a workspace for some fits. n: their number; fits: where the fits are that were extended for them."""

    n: int
    fits: tuple[str, ...]

    def catalogue(self, ws: Workspace, trained: pa.Table) -> pa.Table:
        """The rows of schema.ITEMS that were trained, then those that were added."""
        return pa.concat_tables([trained, added_rows(ws / ADDED).cast(trained.schema)])

    def extended(self, ws: Workspace, fit: str, model: Recommender) -> Neighbours:
        """The recommender at `fit` with the added items."""
        lists = _file(ws / ADDED, self.fits.index(fit)).read_table().combine_chunks()
        near = lists["neighbours"].combine_chunks()
        values = lists["similarities"].combine_chunks().flatten().to_numpy()
        n = len(lists)
        found = csr_matrix((values, near.flatten().to_numpy(), offsets_of(lengths_of(near))), shape=(n, n))
        return with_new_items(model, found)


def added_to(ws: Workspace, data: str, fits: Mapping[str, str]) -> Added | None:
    """What was added to the catalogue at `data`; None if there is nothing, or if that catalogue has all of it by now.

    fits: the fingerprint of each fit that is served, by its place. Raises InputError if the items were added to other fits,
    or to another catalogue, and this one lacks some: nothing that was added is left out in silence.
    """
    manifest = read_manifest(ws / ADDED)
    if manifest is None:
        return None
    of_data, known = read_manifest(ws.require(data))["fingerprint"], manifest["settings"]["fits"]
    if manifest["inputs"][0] != of_data:
        lacking = _lacking(ws.root.uri, data, of_data, manifest["fingerprint"])
        if not lacking:
            return None
        raise InputError(
            f"{ws}: {len(lacking)} items were added to another catalogue than {data} is now, which lacks them, such as"
            f" {lacking[0]!r}. {AGAIN} Or remove {ws}/added to go without them."
        )
    for place, one in fits.items():
        if known.get(place) != one:
            raise InputError(
                f"{ws}: {manifest['counts']['items']} items were added to other fits than {place} is now. {AGAIN} Or remove"
                f" {ws}/added to go without them."
            )
    return Added(manifest["counts"]["items"], tuple(known))


def added_rows(place: Place) -> pa.Table:
    """The items that are published at `place`, rows of schema.ITEMS in the order of their codes."""
    return (place / ITEMS).read_table().sort_by("item")


def write_added(items: pa.Table, found: list[csr_matrix], to: Place) -> None:
    """Write rows of schema.ITEMS, and what `found_by_text` gave for each fit."""
    (to / ITEMS).write_table(items)
    for number, one in enumerate(found):
        columns = {
            "item": pa.array(np.arange(one.shape[0]), pa.int32()),
            "neighbours": lists_of(one.indptr, one.indices.astype(np.int32)),
            "similarities": lists_of(one.indptr, one.data.astype(np.float32)),
        }
        _file(to, number).write_table(pa.table(columns))


def _file(place: Place, number: int) -> Place:
    return place / f"similarities/{number}.parquet"


@lru_cache(maxsize=4)
def _lacking(uri: str, data: str, of_data: str, of_added: str) -> list[str]:
    """The added items that a catalogue lacks. A replica asks every few seconds, so it is kept by both fingerprints."""
    ws = Workspace(uri)
    known = set((ws / data / ITEMS).read_table(["item_id"])["item_id"].to_pylist())
    return [one for one in added_rows(ws / ADDED)["item_id"].to_pylist() if one not in known]
