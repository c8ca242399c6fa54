"""The ledger: what the LLMs said, word for word, kept while the pipeline streams and never asked for again.

It holds no verdicts. Which item a text names, whether a user knows it already, whether it is held out: all of that is read
from the words by every run anew, with the data, the grounding and the settings of that run. So a request is known by what
its answer depends on and by nothing else (`identity`), and recipes that share a ledger share its answers.

There are two kinds of rows. A request to the LLM of a strategy is one row of `schema.WORDS`, however many prompts it has,
so that no crash can tear an answer. What the discriminator said of proposals is a row of `schema.YES_NO` for each question:
another grounding or another split puts other proposals to it, and those that it met before are not asked again. In one row
with the request's own words, those would have to wait for it, and one more proposal would ask for all of them again.

A folder of Parquet files for each LLM and way of asking. A file gets its name only when it is whole, so a run that is cut
off at any point leaves none that is half written; what was in flight is asked again by the next run.
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
"""Of what a ledger holds. 1, without a file that says so, were rows of `schema.ANSWERS`, with the outcomes of their day."""
MARK = "_ledger.json"
UNFINISHED = ".part"
REPEATED = [f"answers.list.element.{name}.list.element" for name in ("written", "options")]
REPEATED += ["prompt_tokens", "output_tokens", "tokens"]
SPLIT = [f"answers.list.element.{name}_logprobs.list.element" for name in ("written", "option")]
SPLIT += ["seconds", "yes", "no"]
"""The columns of both kinds that repeat, and those that do not, of which Parquet writes first all first bytes, then all
second ones: that takes a third less when it is compressed.
"""
AT_ONCE = 1024
"""Requests whose words are read together."""
Ids = Any
"""A Ray reference to sorted uint64 ids: 8 bytes a request in the object store, none in the driver."""


def identity(salt: str, user_id: str, prompts: Iterable[np.ndarray], options: np.ndarray) -> bytes:
    """8 bytes that know a question: the LLM and how it answers (`salt`), about whom, the prompts, the options.

    An answer says something of one user, so two users with the same prompts have two answers: a sampled one is a user's
    own, and what an answer cost is told once. A user is known by the publisher's id, for codes move when others come.
    """
    content = blake2b(salt.encode(), digest_size=8)
    name = user_id.encode()
    content.update(len(name).to_bytes(4, "little") + name)
    for part in (options, *prompts):
        content.update(len(part).to_bytes(4, "little"))
        content.update(np.ascontiguousarray(part, np.int32))
    return content.digest()


def find_ledger(recipe: Recipe, ws: Workspace) -> Place:
    """The folder of a recipe's ledger. Raises InputError if it holds what this Longtail cannot read."""
    root = Place.named(recipe.ledger, "ledger") if recipe.ledger else ws / "ledger"
    mark = root / MARK
    found = mark.read_json().get("format") if mark.exists() else (1 if root.files(".parquet") else FORMAT)
    if found != FORMAT:
        kept = "kept verdicts instead of what the LLMs said" if found == 1 else f"writes format {found}"
        raise InputError(
            f"ledger = {root}: written by another version of Longtail, which {kept}; this one reads format {FORMAT}."
            " Move that folder away, or let `ledger` name another one: the questions are then asked again."
        )
    return root


def open_ledger(recipe: Recipe, ws: Workspace) -> Place:
    """`find_ledger`, to be written to: it says from now on what it holds."""
    root = find_ledger(recipe, ws)
    if not (root / MARK).exists():
        (root / MARK).write_json({"format": FORMAT})
    return root


class Ledger:
    """The words of one LLM, asked in one way: rows of `schema.WORDS`."""

    def __init__(self, place: Place) -> None:
        self.place = place.make_folder()

    def left(self, wanted: Ids) -> tuple[Ids, int]:
        """Those of the requests without an answer, and how many they are."""
        import ray

        left = ray.remote(num_cpus=0.1)(_left).remote(self.place, wanted)
        return left, ray.get(ray.remote(num_cpus=0.1)(_count).remote(left))

    def keep(self, answered: Any) -> Any:
        """A dataset of requests with their words: the same rows, once they are written down."""
        return answered.map_batches(
            partial(_kept, place=self.place), batch_format="pyarrow", batch_size=None, zero_copy_batch=True
        )

    def read(self, requests: Any) -> Any:
        """A dataset of answered requests (`request_id` and more): the same rows with their words, each once, also where
        a lost writer was replaced.
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
    """Where the words of each request stand: ids uint64 [n], sorted, each once; numbers int32 [n] of `names`, the files;
    rows int32 [n] within the file. 16 bytes a request, in the object store.
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
    """Sorted; a Ray task that runs a dataset of its own."""
    batches = requests.iter_batches(batch_format="pyarrow", batch_size=None)
    return np.unique(
        np.concatenate([np.zeros(0, np.uint64), *(_numbers(batch["request_id"]) for batch in batches)])
    )


def _left(place: Place, wanted: np.ndarray) -> np.ndarray:
    return wanted[~np.isin(wanted, _index_of(place).ids)]


def _count(ids: np.ndarray) -> int:
    return len(ids)


def unanswered(batch: pa.Table, left: list[Ids]) -> pa.Table:
    """Those of the requests that are left. A reference stands in a list, or Ray would fetch it for every task."""
    return batch.filter(pa.array(np.isin(_numbers(batch["request_id"]), fetch(left[0]))))


def _read(batch: pa.Table, place: Place, index: list[Any]) -> pa.Table:
    """Requests in the order of the data meet files in about that order: a batch reads few of them."""
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
    """One file of the ledger. Rows of the same ids, in the first column, get the same name, so that a repeated task leaves
    one file.
    """
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
    """Request ids are 16 hexadecimal digits, hence 64-bit numbers."""
    return np.fromiter((int(one, 16) for one in request_ids.to_pylist()), np.uint64, len(request_ids))
