"""The ledger: the words of the LLMs, unchanged. It is written while the pipeline streams; no question is asked twice.

It holds no outcomes. Which item a text names, and whether the user has it already: every run reads
this again from the words, with its own data, grounding and settings. So the id of a request depends on what determines its
answer, and on nothing else (`identity`). Recipes that share a ledger share its answers.

There are two kinds of rows. A request to the LLM of a strategy is one row of `schema.WORDS` with all of its prompts, so a
crash cannot leave half of an answer. An answer of the discriminator is one row of `schema.YES_NO` for each question. If the
grounding or the split changes, other proposals are open; only the new ones are asked about. If both were one row, the
words of the first LLM could be written only after the discriminator's, and one new proposal would ask all questions again.

There is one folder of Parquet files for each LLM and way of asking. A file gets its final name only when it is complete, so
a run that stops at any point leaves no half-written file. The next run asks again for answers that were not written yet.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from longtail.errors import InputError
from longtail.recipe import Recipe
from longtail.runtime.cluster import fetch
from longtail.schema import WORDS
from longtail.workspace import Workspace
from longtail.workspace.place import Place

FORMAT = 2
"""Version of the ledger's format. Format 1 had no file MARK; its rows were `schema.ANSWERS`, outcomes included."""
MARK = "_ledger.json"
UNFINISHED = ".part"
REPEATED = [f"answers.list.element.{name}.list.element" for name in ("written", "options")]
REPEATED += ["prompt_tokens", "output_tokens", "tokens"]
SPLIT = [f"answers.list.element.{name}_logprobs.list.element" for name in ("written", "option")]
SPLIT += ["seconds", "yes", "no"]
"""How Parquet encodes the columns of both kinds. REPEATED: values repeat, so a dictionary. SPLIT: byte-stream split, that is
all first bytes, then all second bytes, and so on; compressed, this takes a third less space.
"""
AT_ONCE = 1024
"""Number of requests whose words are read together."""
Ids = Any
"""A Ray reference to sorted uint64 ids: 8 bytes for each request in the object store, none in the driver."""


def identity(salt: str, user_id: str, prompts: Iterable[np.ndarray], options: np.ndarray) -> bytes:
    """A hash of 8 bytes that identifies a request: the LLM and how it answers (`salt`), the user, the prompts, the options.

    Two users with the same prompts have two answers: a sampled answer belongs to one user, and its cost is counted once.
    The user is given by the id in the data set, because user codes change when new users come.
    """
    content = blake2b(salt.encode(), digest_size=8)
    name = user_id.encode()
    content.update(len(name).to_bytes(4, "little") + name)
    for part in (options, *prompts):
        content.update(len(part).to_bytes(4, "little"))
        content.update(np.ascontiguousarray(part, np.int32))
    return content.digest()


def find_ledger(recipe: Recipe, ws: Workspace) -> Place:
    """The folder of a recipe's ledger. Raises InputError if this version of Longtail cannot read it."""
    root = Place.named(recipe.ledger, "ledger") if recipe.ledger else ws / "ledger"
    mark = root / MARK
    found = mark.read_json().get("format") if mark.exists() else (1 if root.files(".parquet") else FORMAT)
    if found != FORMAT:
        kept = "stored outcomes instead of the words of the LLMs" if found == 1 else f"writes format {found}"
        raise InputError(
            f"ledger = {root}: written by another version of Longtail, which {kept}; this one reads format {FORMAT}."
            " Move that folder away, or let `ledger` name another one: the questions are then asked again."
        )
    return root


def open_ledger(recipe: Recipe, ws: Workspace) -> Place:
    """Like `find_ledger`, before writing: marks the folder with its format."""
    root = find_ledger(recipe, ws)
    if not (root / MARK).exists():
        (root / MARK).write_json({"format": FORMAT})
    return root


class Ledger:
    """The answers of one LLM that is asked in one way: rows of `schema.WORDS`."""

    def __init__(self, place: Place) -> None:
        self.place = place.make_folder()

    def left(self, wanted: Ids) -> tuple[Ids, int]:
        """The requests without an answer, and their number."""
        import ray

        left = ray.remote(num_cpus=0.1)(_left).remote(self.place, wanted)
        return left, ray.get(ray.remote(num_cpus=0.1)(_count).remote(left))

    def keep(self, answered: Any) -> Any:
        """Write a dataset of requests with their words. Returns the same rows, after they are written."""
        return answered.map_batches(
            partial(_kept, place=self.place), batch_format="pyarrow", batch_size=None, zero_copy_batch=True
        )

    def read(self, requests: Any) -> Any:
        """A dataset of answered requests (with at least `request_id`) -> the same rows with their words.

        Each row comes once, even if the ledger has its words twice because a lost writer was replaced.
        """
        import ray

        index = ray.remote(num_cpus=0.1)(_index_of).remote(self.place)
        return requests.map_batches(
            _read,
            batch_format="pyarrow",
            batch_size=AT_ONCE,
            fn_kwargs={"place": self.place, "index": [index]},
        )


@dataclass(frozen=True)
class Index:
    """Where to find the words of each request; 16 bytes for each, in the object store.

    ids uint64 [n], sorted, each once; numbers int32 [n]: the file, an index into `names`; rows int32 [n]: the row in the
    file.
    """

    ids: np.ndarray
    numbers: np.ndarray
    rows: np.ndarray
    names: list[str]


def _index_of(place: Place) -> Index:
    names = [file.name for file in place.files(".parquet")]
    ids = [_numbers((place / name).read_table(["request_id"])["request_id"]) for name in names]
    numbers = np.repeat(np.arange(len(ids), dtype=np.int32), [len(own) for own in ids])
    rows = np.concatenate([np.zeros(0, np.int32), *(np.arange(len(own), dtype=np.int32) for own in ids)])
    known, first = np.unique(np.concatenate([np.zeros(0, np.uint64), *ids]), return_index=True)
    return Index(known, numbers[first], rows[first], names)


def ids_of(requests: Any) -> Ids:
    """The ids of a dataset with `request_id`."""
    import ray

    return ray.remote(num_cpus=0)(_ids_of).remote(requests.select_columns(["request_id"]))


def _ids_of(requests: Any) -> np.ndarray:
    """Sorted ids, uint64. Runs as a Ray task, which itself runs the dataset."""
    batches = requests.iter_batches(batch_format="pyarrow", batch_size=None)
    return np.unique(
        np.concatenate([np.zeros(0, np.uint64), *(_numbers(batch["request_id"]) for batch in batches)])
    )


def _left(place: Place, wanted: np.ndarray) -> np.ndarray:
    return wanted[~np.isin(wanted, _index_of(place).ids)]


def _count(ids: np.ndarray) -> int:
    return len(ids)


def unanswered(batch: pa.Table, left: list[Ids]) -> pa.Table:
    """The requests that are left. The reference is in a list, because Ray would fetch a bare one for every task."""
    return batch.filter(pa.array(np.isin(_numbers(batch["request_id"]), fetch(left[0]))))


def _read(batch: pa.Table, place: Place, index: list[Any]) -> pa.Table:
    """Files and requests are in about the same order, that of the data. So a batch reads few files."""
    known: Index = fetch(index[0])
    at = np.searchsorted(known.ids, _numbers(batch["request_id"]))
    order = np.lexsort((known.rows[at], known.numbers[at]))
    numbers, rows = known.numbers[at][order], known.rows[at][order]
    names = [name for name in WORDS.names if name != "request_id"]
    parts = [WORDS.empty_table().select(names)]
    for number in np.unique(numbers):
        table = (place / known.names[number]).read_table(names)
        parts.append(table.take(pa.array(rows[numbers == number])))
    words = pa.concat_tables(parts).take(pa.array(np.argsort(order)))
    for name in names:
        batch = batch.append_column(name, words[name])
    return batch


def _kept(batch: pa.Table, place: Place) -> pa.Table:
    write(batch.select(WORDS.names).cast(WORDS), place)
    return batch


def write(table: pa.Table, place: Place) -> None:
    """Write one file of the ledger. Its name depends on the ids in the first column, so a repeated task leaves one file."""
    if not len(table):
        return
    ids = sorted(map(str, table.column(0).to_pylist()))
    name = blake2b("".join(ids).encode(), digest_size=12).hexdigest()
    target, draft = place / f"{name}.parquet", place / f"{name}{UNFINISHED}"
    with draft.fs.open_output_stream(draft.path) as stream:
        pq.write_table(
            table, stream, compression="zstd", use_dictionary=REPEATED, use_byte_stream_split=SPLIT
        )
    draft.fs.move(draft.path, target.path)


def _numbers(request_ids: pa.ChunkedArray) -> np.ndarray:
    """Request ids as numbers, uint64: an id is 16 hexadecimal digits."""
    return np.fromiter((int(one, 16) for one in request_ids.to_pylist()), np.uint64, len(request_ids))
