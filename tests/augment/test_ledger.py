"""The ledger: a request is answered once, whatever was cut off, written twice, or asked by another recipe."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.augment.ledger import (
    UNFINISHED,
    Ledger,
    Written,
    _left,
    _read,
    _repeated,
    _write,
    ids_of,
    unanswered,
)
from app.schema import ACCEPTED, HELD_OUT, NOT_IN_CATALOGUE
from app.workspace import Place
from tests.augment.conftest import answers

pytestmark = pytest.mark.usefixtures("ray_here")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Place(pafs.LocalFileSystem(), str(tmp_path / "ledger")))


def name(number: int) -> str:
    """Request ids use all 64 bits."""
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}"


def rows(numbers: list[int], error: str | None = None) -> pa.Table:
    return answers(
        [
            {"request_id": name(one), "user": one, "questions": 1, "proposals": [], "error": error}
            for one in numbers
        ]
    )


def wanted(numbers: list[int]):
    import ray.data

    return ray.data.from_arrow(pa.table({"request_id": pa.array(list(map(name, numbers)), pa.string())}))


def users(dataset) -> list[int]:
    return sorted(
        user for batch in dataset.iter_batches(batch_format="pyarrow") for user in batch["user"].to_pylist()
    )


def left_of(ledger: Ledger, numbers: list[int]) -> list[int]:
    """The numbers that would be asked."""
    left, count = ledger.left(ids_of(wanted(numbers)))
    table = pa.table({"request_id": list(map(name, numbers)), "user": numbers})
    found = unanswered(table, [left])["user"].to_pylist()
    assert count == len(set(found))
    return found


def test_nothing_is_asked_twice(ledger):
    import ray.data

    assert left_of(ledger, list(range(10))) == list(range(10))
    assert sum(one.requests for one in ledger.append(ray.data.from_arrow(rows([0, 3, 9])))) == 3
    assert left_of(ledger, list(range(10))) == [1, 2, 4, 5, 6, 7, 8]
    list(ledger.append(ray.data.from_arrow(rows([1, 2, 4, 5, 6, 7, 8]))))
    everything = ids_of(wanted(list(range(10))))
    _, count = ledger.left(everything)
    assert not count and users(ledger.read(everything)) == list(range(10))


def test_an_answer_with_an_error_is_an_answer(ledger):
    """What the engine rejected once it would reject again."""
    ledger.place.fs.create_dir(ledger.place.path)
    _write(rows([1], error="too long"), ledger.place)
    assert left_of(ledger, [1, 2]) == [2]


def test_a_file_that_was_cut_off_counts_as_nothing(ledger):
    _write(rows([0, 1]), ledger.place)
    whole = ledger.place.files(".parquet")[0].read_bytes()
    for cut in (0, 10, len(whole) - 4):
        (ledger.place / f"cut{cut}{UNFINISHED}").write_bytes(whole[:cut])
    assert left_of(ledger, [0, 1, 2]) == [2]
    everything = ids_of(wanted([0, 1]))
    assert users(ledger.read(everything)) == [0, 1]


def test_other_recipes_answers_are_not_read(ledger):
    """A ledger may be shared: of two recipes that ask about different users, each reads its own."""
    _write(rows([0, 1, 2]), ledger.place)
    _write(rows([3, 4]), ledger.place)
    own = ids_of(wanted([1, 4]))
    _, count = ledger.left(own)
    assert not count and users(ledger.read(own)) == [1, 4]


@given(
    files=st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=5),
    asked=st.sets(st.integers(0, 15), min_size=1),
)
def test_each_request_is_read_once_however_often_it_was_written(tmp_path_factory, files, asked):
    """A writer that was lost after its file had its name is run again, with other batches perhaps."""
    import ray

    place = Place(pafs.LocalFileSystem(), str(tmp_path_factory.mktemp("ledger")))
    for number, numbers in enumerate(files):
        (place / f"{number}.parquet").write_table(rows(numbers))
    written = {number for numbers in files for number in numbers}
    ids = np.sort(np.array([int(name(one), 16) for one in asked], np.uint64))
    assert _left(place, ids).tolist() == sorted(int(name(one), 16) for one in asked - written)
    references = [ray.put(ids), ray.put(_repeated(place))]
    names = [[file.name] for file in place.files(".parquet")]
    tables = [_read(pa.table({"file": one}), place, references) for one in names]
    assert sorted(user for table in tables for user in table["user"].to_pylist()) == sorted(asked & written)


def test_a_task_that_is_repeated_leaves_one_file(ledger):
    for table in (rows([5, 6]), rows([6, 5])):
        _write(table, ledger.place)
    assert len(ledger.place.files()) == 1
    _write(rows([]), ledger.place)
    assert len(ledger.place.files()) == 1, "nothing to write, no file"


proposal = st.fixed_dictionaries(
    {
        "item": st.one_of(st.none(), st.integers(0, 9)),
        "outcome": st.sampled_from([None, ACCEPTED, HELD_OUT, NOT_IN_CATALOGUE]),
    }
)
answer = st.fixed_dictionaries(
    {
        "questions": st.integers(1, 3),
        "prompt_tokens": st.integers(0, 50),
        "output_tokens": st.integers(0, 9),
        "judge_tokens": st.integers(0, 9),
        "seconds": st.sampled_from([0.5, 0.25]),
        "error": st.sampled_from([None, "boom"]),
        "proposals": st.lists(proposal, max_size=4),
    }
)


@given(given_rows=st.lists(answer, max_size=6), cut=st.integers(0, 6))
def test_what_files_hold_adds_up_however_it_is_split(tmp_path_factory, given_rows, cut):
    folder = Place(pafs.LocalFileSystem(), str(tmp_path_factory.mktemp("ledger")))
    table = answers([{"request_id": name(place)} | row for place, row in enumerate(given_rows)])
    parts = [_write(part, folder).to_pylist()[0] for part in (table.slice(0, cut), table.slice(cut))]
    total = Written(**parts[0]) + Written(**parts[1])
    proposals = [one for row in given_rows for one in row["proposals"]]
    sums = {
        key: sum(row[key] for row in given_rows) for key in ("questions", "prompt_tokens", "output_tokens")
    }
    assert vars(total) == vars(total) | sums | {
        "requests": len(given_rows),
        "errors": Counter(row["error"] for row in given_rows)["boom"],
        "useless": sum(
            not [one for one in row["proposals"] if one["item"] is not None] for row in given_rows
        ),
        "judge_tokens": sum(row["judge_tokens"] for row in given_rows),
        "seconds": sum(row["seconds"] for row in given_rows),
        "proposals": len(proposals),
        "usable": sum(one["outcome"] in (None, ACCEPTED) for one in proposals),
    }


def test_ids_keep_all_their_bits(ledger):
    close = ["ffffffffffffffff", "fffffffffffffffe", "0000000000000000", "0000000000000001"]
    table = answers([{"request_id": one, "proposals": []} for one in close[:3]])
    _write(table, ledger.place)
    import ray.data

    asked = pa.table({"request_id": close})
    left, count = ledger.left(ids_of(ray.data.from_arrow(asked)))
    assert count == 1 and unanswered(asked, [left])["request_id"].to_pylist() == [close[3]]
    import ray

    assert ray.get(left).dtype == np.uint64
