"""Stage embed: the texts of the catalogue -> vectors of every item, by each pretrained encoder of the recipe.

Actors of Ray Data encode. What they write is raw; the mean and the matrix beside it make half-whitened vectors of it.
"""

import logging
import re
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.numpy

from longtail.data import Prepared
from longtail.data.item_words import item_words
from longtail.recipe import Recipe, Resources
from longtail.runtime.cluster import connect
from longtail.text.encoder import Encoder
from longtail.text.pretrained import Source, find, identity
from longtail.text.whitening import Moments, half_whitening
from longtail.workspace import Stage, Workspace, fingerprint
from longtail.workspace.place import Place

MEANING = 2
"""The version of the vectors."""
TEXTS_AT_ONCE = 2048
"""Texts that an actor gets at a time."""
VECTORS, WHITENING = "vectors", "whitening.safetensors"
log = logging.getLogger("longtail")


def embed(recipe: Recipe, ws: Workspace) -> None:
    """Publish `text/<encoder>` for each pretrained encoder that is not up to date. The vectors depend on the texts of the
    catalogue and on the encoder, and on nothing else. Raises InputError if an encoder cannot be loaded.
    """
    if not recipe.text.pretrained:
        return
    prepared = Prepared(ws)
    texts = item_words(prepared.items)
    for name in recipe.text.pretrained:
        stage = _stage(ws, name, texts)
        if stage.up_to_date:
            continue
        ws.claim()
        source = find(name, "text.encoders")
        connect(recipe.resources)
        with stage.publishing() as draft:
            stage.counts = _encode(source, texts, recipe.resources, draft)


def vectors_of(ws: Workspace, name: str) -> Place:
    """Where the vectors by an encoder are. Raises InputError if embed has not made them."""
    return ws.require(_place(name))


def embed_new(recipe: Recipe, ws: Workspace, name: str, texts: list[str], folder: str) -> Place:
    """Publish the vectors by one encoder of the texts of items that the catalogue lacks, in `folder`, if they are not up to
    date. `read_vectors` reads them with the whitening of the catalogue. Raises InputError as `embed`.
    """
    stage = _stage(ws, name, texts, folder)
    if not stage.up_to_date:
        source = find(name, "text.encoders")
        connect(recipe.resources)
        with stage.publishing() as draft:
            stage.counts = _encode(source, texts, recipe.resources, draft)
    return stage.place


def read_vectors(place: Place, whitened_as: Place | None = None) -> np.ndarray:
    """The half-whitened vectors of all items: float32 [items, width], each of length 1, or 0 for an item without text.

    whitened_as: the place of the vectors whose mean and matrix are used; by default their own.
    """
    table = (place / VECTORS).read_table(["item", "vector"]).sort_by("item").combine_chunks()
    whitening = safetensors.numpy.load(((whitened_as or place) / WHITENING).read_bytes())
    rows, raw = _dense(table["vector"].combine_chunks())
    raw = raw if len(rows) else np.zeros((0, len(whitening["mean"])), np.float32)
    found = np.zeros((len(table), whitening["matrix"].shape[1]), np.float32)
    vectors = (raw - whitening["mean"]) @ whitening["matrix"]
    found[rows] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return found


def _stage(ws: Workspace, name: str, texts: list[str], folder: str = "text") -> Stage:
    return ws.stage(
        _place(name, folder), {"texts": fingerprint(texts), "encoder": identity(name)}, [], MEANING
    )


def _place(name: str, folder: str = "text") -> str:
    """An encoder may be named by a path: what is left of it is a folder's name, and a hash keeps it distinct."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
    return f"{folder}/{plain}" if plain == name else f"{folder}/{plain[-40:]}-{fingerprint(name)[:6]}"


def _encode(source: Source, texts: list[str], resources: Resources, draft: Place) -> dict[str, Any]:
    """Write the vectors to `draft`. Returns the counts of the manifest."""
    import ray.data

    table = pa.table(
        {"item": np.arange(len(texts), dtype=np.int32), "text": pa.array(texts, pa.large_string())}
    )
    on_gpu = resources.accelerator == "gpu"
    files = (
        ray.data.from_arrow(table)
        .repartition(target_num_rows_per_block=TEXTS_AT_ONCE)
        .map_batches(
            Encoder,
            fn_constructor_args=(source, "text.encoders", on_gpu),
            batch_format="pyarrow",
            batch_size=None,
            compute=ray.data.ActorPoolStrategy(min_size=resources.pool[0], max_size=resources.pool[1]),
            **({"num_gpus": 1} if on_gpu else {"num_cpus": 1}),
        )
        .map_batches(partial(_written, place=draft / VECTORS), batch_format="pyarrow", batch_size=None)
    )
    done = pa.concat_tables(
        [pa.table(block) for block in files.iter_batches(batch_size=None, batch_format="pyarrow")]
    )
    parts = [part for row in done.to_pylist() if (part := _moments(row)).n]
    mean, matrix = half_whitening(Moments.together(parts)) if parts else (np.zeros(0), np.zeros((0, 0)))
    without = len(texts) - sum(part.n for part in parts)
    counts = {"items": len(texts), "tokens": int(np.sum(done["tokens"])), "without text": without}
    tensors = {"mean": mean.astype(np.float32), "matrix": np.ascontiguousarray(matrix, np.float32)}
    (draft / WHITENING).write_bytes(safetensors.numpy.save(tensors))
    return counts | {"width": matrix.shape[1]}


def _written(batch: pa.Table, place: Place) -> pa.Table:
    """Write a part. Returns one row: its tokens, and the moments of its vectors as bytes."""
    (place / f"{batch['item'][0].as_py():012d}.parquet").write_table(batch)
    _, raw = _dense(batch["vector"].combine_chunks())
    moments = Moments.of(raw)
    return pa.table(
        {
            "tokens": [int(np.sum(batch["tokens"]))],
            "n": [moments.n],
            "total": pa.array([moments.total.tobytes()], pa.binary()),
            "products": pa.array([moments.products.tobytes()], pa.binary()),
        }
    )


def _moments(row: dict[str, Any]) -> Moments:
    total = np.frombuffer(row["total"])
    return Moments(row["n"], total, np.frombuffer(row["products"]).reshape(len(total), -1))


def _dense(vectors: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that have a vector, int64 [n], and these, float32 [n, width]."""
    lengths = np.diff(vectors.offsets.to_numpy())
    rows = np.flatnonzero(lengths)
    width = int(lengths[rows[0]]) if len(rows) else 0
    return rows, vectors.flatten().to_numpy().reshape(len(rows), width)
