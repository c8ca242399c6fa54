"""The ledger: every answer, one row per request, appended while the pipeline streams and never asked again.

A file that was being written when the run was killed has no footer; it is removed, and its requests are asked again. A
request counts as answered only once its whole row, judged pairs included, lies in a readable file.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from app.workspace import Place

log = logging.getLogger("longtail")
PROGRESS_SECONDS = 10.0


class Ledger:
    """The answers of one strategy: a folder of Parquet files with rows of `schema.ANSWERS`."""

    def __init__(self, place: Place) -> None:
        self.place = place.make_folder()

    def remaining(self, requests: Any) -> Any:
        """The requests (a dataset with `request_id`) that have no answer yet.

        The ids that have one are held in the object store, 8 bytes each, not in the driver.
        """
        import ray

        answered = ray.remote(_answered).options(num_cpus=0.1).remote(self.place)
        return requests.map_batches(_unanswered, batch_format="pyarrow", fn_kwargs={"answered": [answered]})

    def append(self, answers: Any) -> None:
        """Run the pipeline that makes `answers` and write its rows as they come."""
        answers.write_parquet(self.place.path, filesystem=self.place.fs)

    def read(self) -> Any:
        """All answers as a dataset, each request once, also where a lost writer was replaced and wrote again."""
        import ray
        import ray.data

        answers = ray.data.read_parquet(self.place.path, filesystem=self.place.fs)
        if ray.get(ray.remote(_repeats).options(num_cpus=0.1).remote(self.place)):
            return answers.groupby("request_id", num_partitions=4).map_groups(
                lambda group: group.slice(0, 1), batch_format="pyarrow"
            )
        return answers

    @contextmanager
    def progress(self, name: str, total: int) -> Iterator[None]:
        """Log how far the ledger has come, its speed and the time left, while the block runs."""
        before = {file.path for file in self.place.files(".parquet")}
        stop = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(name, total, before, stop), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()

    def _watch(self, name: str, total: int, counted: set[str], stop: threading.Event) -> None:
        answered, started, first = 0, time.monotonic(), None
        while not stop.wait(PROGRESS_SECONDS):
            for file in self.place.files(".parquet"):
                if file.path not in counted and (rows := _rows(file)) is not None:
                    counted.add(file.path)
                    answered += rows
            if not answered:
                log.info("%s: engines are starting, %.0f s", name, time.monotonic() - started)
                continue
            first = first or time.monotonic() - PROGRESS_SECONDS
            speed = answered / (time.monotonic() - first)
            log.info(
                "%s: %d of %d requests, %.1f/s, %.0f s left",
                name,
                answered,
                total,
                speed,
                (total - answered) / speed,
            )


def _rows(file: Place) -> int | None:
    """The number of rows, or None where the file is not whole."""
    try:
        with file.fs.open_input_file(file.path) as stream:
            return pq.ParquetFile(stream).metadata.num_rows
    except (pa.ArrowInvalid, OSError):
        return None


def _answered(place: Place) -> np.ndarray:
    """Sorted 64-bit ids of all answered requests; files that are not whole are removed."""
    ids = []
    for file in place.files(".parquet"):
        if _rows(file) is None:
            log.warning("%s was cut off while it was written; its requests are asked again", file)
            file.delete()
            continue
        ids.append(_numbers(file.read_table(["request_id"])["request_id"]))
    return np.sort(np.concatenate(ids)) if ids else np.empty(0, np.uint64)


def _repeats(place: Place) -> bool:
    ids = _answered(place)
    return bool((ids[1:] == ids[:-1]).any())


def _unanswered(batch: pa.Table, answered: list[Any]) -> pa.Table:
    import ray

    done = ray.get(answered[0])
    return batch.filter(pa.array(~np.isin(_numbers(batch["request_id"]), done)))


def _numbers(request_ids: pa.ChunkedArray) -> np.ndarray:
    """Request ids are 16 hexadecimal digits, hence 64-bit numbers."""
    return np.fromiter((int(one, 16) for one in request_ids.to_pylist()), np.uint64, len(request_ids))
