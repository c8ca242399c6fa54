"""The ledger: every answer, one row per request, kept while the pipeline streams and never asked for again.

A folder of Parquet files with rows of `schema.ANSWERS`. A file gets its name only when it is whole, so a run that is cut off
at any point leaves none that is half written; what was in flight is asked again by the next run. Requests are known by a
hash of their content, so recipes that share a ledger share its answers.
"""

from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from app.cluster import fetch
from app.schema import ANSWERS, OUTCOMES
from app.workspace import Place

UNFINISHED = ".part"
Ids = Any
"""A Ray reference to sorted uint64 ids: 8 bytes a request in the object store, none in the driver."""


@dataclass(frozen=True)
class Written:
    """What a file of answers holds; the driver adds these up while it streams."""

    requests: int = 0
    errors: int = 0
    useless: int = 0
    """Answers that name no item of the catalogue at all."""
    questions: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    judge_tokens: int = 0
    seconds: float = 0.0
    proposals: int = 0
    usable: int = 0
    """Proposals without an outcome yet, or accepted."""

    def __add__(self, other: "Written") -> "Written":
        return Written(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


class Ledger:
    """The answers to one way of asking: a strategy with its settings, LLMs and catalogue."""

    def __init__(self, place: Place) -> None:
        self.place = place.make_folder()

    def left(self, wanted: Ids) -> tuple[Ids, int]:
        """Those of the requests without an answer, and how many they are."""
        import ray

        left = ray.remote(num_cpus=0.1)(_left).remote(self.place, wanted)
        return left, ray.get(ray.remote(num_cpus=0.1)(_count).remote(left))

    def append(self, answers: Any) -> Any:
        """Run the pipeline that makes `answers` and keep its rows as they come: an iterator of `Written`, file by file."""
        files = answers.map_batches(
            partial(_write, place=self.place), batch_format="pyarrow", batch_size=None, zero_copy_batch=True
        )
        for batch in files.iter_batches(batch_format="pyarrow", batch_size=None, prefetch_batches=0):
            for row in batch.to_pylist():
                yield Written(**row)

    def read(self, wanted: Ids) -> Any:
        """The answers to the wanted requests as a dataset, each once, also where a lost writer was replaced."""
        import ray
        import ray.data

        again = ray.remote(num_cpus=0.1)(_repeated).remote(self.place)
        files = [{"file": file.name} for file in self.place.files(".parquet")]
        return ray.data.from_items(files, override_num_blocks=max(1, len(files))).map_batches(
            _read,
            batch_size=1,
            batch_format="pyarrow",
            fn_kwargs={"place": self.place, "references": [wanted, again]},
        )


def ids_of(requests: Any) -> Ids:
    """The ids of a dataset with `request_id`; to know them all prompts are written once."""
    import ray

    return ray.remote(num_cpus=0)(_ids_of).remote(requests.select_columns(["request_id"]))


def _ids_of(requests: Any) -> np.ndarray:
    """Sorted; a Ray task that runs a dataset of its own."""
    batches = requests.iter_batches(batch_format="pyarrow", batch_size=None)
    return np.unique(
        np.concatenate([np.zeros(0, np.uint64), *(_numbers(batch["request_id"]) for batch in batches)])
    )


def _left(place: Place, wanted: np.ndarray) -> np.ndarray:
    return wanted[~np.isin(wanted, _by_file(place)[0])]


def _count(ids: np.ndarray) -> int:
    return len(ids)


def _by_file(place: Place) -> tuple[np.ndarray, np.ndarray]:
    """The id of every row, and the number of its file."""
    ids = [_numbers(file.read_table(["request_id"])["request_id"]) for file in place.files(".parquet")]
    numbers = np.repeat(np.arange(len(ids)), [len(own) for own in ids])
    return np.concatenate([np.zeros(0, np.uint64), *ids]), numbers


def _repeated(place: Place) -> dict[str, np.ndarray]:
    """By file the ids of rows that an earlier file has already."""
    ids, numbers = _by_file(place)
    order = np.lexsort((numbers, ids))
    ids, numbers = ids[order], numbers[order]
    first = np.searchsorted(ids, ids)
    second = np.flatnonzero(numbers > numbers[first])
    names = [file.name for file in place.files(".parquet")]
    return {names[number]: ids[second[numbers[second] == number]] for number in np.unique(numbers[second])}


def unanswered(batch: pa.Table, left: list[Ids]) -> pa.Table:
    """Those of the requests that are left. A reference stands in a list, or Ray would fetch it for every task."""
    return batch.filter(pa.array(np.isin(_numbers(batch["request_id"]), fetch(left[0]))))


def _read(batch: pa.Table, place: Place, references: list[Ids]) -> pa.Table:
    wanted, repeated = map(fetch, references)
    parts = [ANSWERS.empty_table()]
    for name in batch["file"].to_pylist():
        table = (place / name).read_table()
        ids = _numbers(table["request_id"])
        _, first = np.unique(ids, return_index=True)
        kept = np.isin(ids, wanted) & ~np.isin(ids, repeated.get(name, ids[:0]))
        parts.append(table.filter(pa.array(kept & np.isin(np.arange(len(ids)), first))))
    return pa.concat_tables(parts)


def _write(batch: pa.Table, place: Place) -> pa.Table:
    """One file of answers; the same answers get the same name, so that a repeated task leaves one file."""
    if len(batch):
        name = blake2b("".join(sorted(batch["request_id"].to_pylist())).encode(), digest_size=12).hexdigest()
        target = place / f"{name}.parquet"
        draft = place / f"{name}{UNFINISHED}"
        with draft.fs.open_output_stream(draft.path) as stream:
            pq.write_table(batch, stream, compression="zstd")
        draft.fs.move(draft.path, target.path)
    return pa.Table.from_pylist([vars(_written(batch))])


def _written(batch: pa.Table) -> Written:
    sums = {
        name: pc.sum(batch[name]).as_py() or 0
        for name in ("questions", "prompt_tokens", "output_tokens", "judge_tokens")
    }
    sums["seconds"] = (pc.sum(batch["seconds"]).as_py() or 0) + (pc.sum(batch["judge_seconds"]).as_py() or 0)
    lists = batch["proposals"].combine_chunks()
    flat = lists.flatten()
    grounded = flat.field("item").is_valid().to_numpy(zero_copy_only=False)
    rows = lists.value_parent_indices().to_numpy(zero_copy_only=False)
    useful = np.bincount(rows[grounded], minlength=len(batch)) > 0
    usable = pc.or_kleene(flat.field("outcome").is_null(), pc.equal(flat.field("outcome"), OUTCOMES[0]))
    return Written(
        requests=len(batch),
        errors=len(batch) - batch["error"].null_count,
        useless=len(batch) - int(useful.sum()),
        proposals=len(flat),
        usable=pc.sum(usable).as_py() or 0,
        **sums,
    )


def _numbers(request_ids: pa.ChunkedArray) -> np.ndarray:
    """Request ids are 16 hexadecimal digits, hence 64-bit numbers."""
    return np.fromiter((int(one, 16) for one in request_ids.to_pylist()), np.uint64, len(request_ids))
