"""The ledger: a request has one answer, even after a stopped run, a repeated write, or the same question of another recipe.
Answers are kept unchanged. A ledger of another version of Longtail is refused, not misread.
"""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.augment import augment
from longtail.augment.ledger import (
    FORMAT,
    MARK,
    UNFINISHED,
    Ledger,
    _index_of,
    _kept,
    _left,
    _read,
    identity,
    ids_of,
    open_ledger,
    unanswered,
    write,
)
from longtail.errors import InputError
from longtail.recipe import Recipe
from longtail.schema import ANSWERS, WORDS
from longtail.stages import run
from longtail.workspace import Workspace
from longtail.workspace.place import Place
from tests.augment.conftest import answers

pytestmark = pytest.mark.usefixtures("ray_here")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(Place(pafs.LocalFileSystem(), str(tmp_path / "ledger")))


def name(number: int) -> str:
    """A request id; the ids use all 64 bits."""
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}"


def said(number: int) -> list[dict]:
    """An answer that shows which request it belongs to."""
    one = {
        "written": [number],
        "written_logprobs": [-0.5],
        "options": [7, number],
        "option_logprobs": [-1, -2],
    }
    return [one] * (number % 3)


def rows(numbers: list[int], error: str | None = None) -> pa.Table:
    """Answered requests: the columns of WORDS and one more, as an engine gives them."""
    whole = [{"request_id": name(one), "answers": said(one), "seconds": one / 4} for one in numbers]
    costs = {"prompt_tokens": 3, "output_tokens": 1, "error": error}
    table = pa.Table.from_pylist([costs | row for row in whole], WORDS)
    return table.append_column("user", pa.array(numbers, pa.int32()))


def wanted(numbers: list[int]):
    import ray.data

    table = pa.table({"request_id": pa.array(list(map(name, numbers)), pa.string()), "user": numbers})
    return ray.data.from_arrow(table)


def found(dataset) -> list[dict]:
    """The rows that were read, in the order of users; checks that each row has its own words."""
    read = [row for batch in dataset.iter_batches(batch_format="pyarrow") for row in batch.to_pylist()]
    for row in read:
        assert row["answers"] == said(row["user"]) and row["seconds"] == row["user"] / 4
    return sorted(row["user"] for row in read)


def left_of(ledger: Ledger, numbers: list[int]) -> list[int]:
    """The numbers of the requests that would be asked."""
    left, count = ledger.left(ids_of(wanted(numbers)))
    table = pa.table({"request_id": list(map(name, numbers)), "user": numbers})
    still = unanswered(table, [left])["user"].to_pylist()
    assert count == len(set(still))
    return still


def test_nothing_is_asked_twice(ledger):
    import ray.data

    assert left_of(ledger, list(range(10))) == list(range(10))
    assert ledger.keep(ray.data.from_arrow(rows([0, 3, 9]))).count() == 3
    assert left_of(ledger, list(range(10))) == [1, 2, 4, 5, 6, 7, 8]
    ledger.keep(ray.data.from_arrow(rows([1, 2, 4, 5, 6, 7, 8]))).count()
    assert left_of(ledger, list(range(10))) == []
    assert found(ledger.read(wanted(list(range(10))))) == list(range(10))


def test_what_goes_on_is_what_came(ledger):
    table = rows([4, 5])
    assert _kept(table, ledger.place) is table


def test_an_answer_with_an_error_is_an_answer(ledger):
    """The engine would reject the same request again."""
    _kept(rows([1], error="too long"), ledger.place)
    assert left_of(ledger, [1, 2]) == [2]


def test_a_file_that_was_cut_off_counts_as_nothing(ledger):
    _kept(rows([0, 1]), ledger.place)
    whole = ledger.place.files(".parquet")[0].read_bytes()
    for cut in (0, 10, len(whole) - 4):
        (ledger.place / f"cut{cut}{UNFINISHED}").write_bytes(whole[:cut])
    assert left_of(ledger, [0, 1, 2]) == [2]
    assert found(ledger.read(wanted([0, 1]))) == [0, 1]


def test_other_recipes_answers_are_not_read(ledger):
    """Recipes may share a ledger. If two ask about different users, each reads only its own answers."""
    _kept(rows([0, 1, 2]), ledger.place)
    _kept(rows([3, 4]), ledger.place)
    assert left_of(ledger, [1, 4]) == [] and found(ledger.read(wanted([4, 1]))) == [1, 4]


@given(
    files=st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=5),
    asked=st.permutations(range(16)),
    count=st.integers(1, 16),
)
def test_each_request_is_read_once_however_often_it_was_written(tmp_path_factory, files, asked, count):
    """A writer may be lost after its file is complete; it runs again, maybe with other batches. Rows keep their order."""
    import ray

    place = Place(pafs.LocalFileSystem(), str(tmp_path_factory.mktemp("ledger")))
    for number, numbers in enumerate(files):
        (place / f"{number}.parquet").write_table(rows(numbers).select(WORDS.names))
    there = {number for numbers in files for number in numbers}
    ids = np.sort(np.array([int(name(one), 16) for one in asked[:count]], np.uint64))
    missing = {*asked[:count]} - there
    assert _left(place, ids).tolist() == sorted(int(name(one), 16) for one in missing)
    mine = [one for one in asked[:count] if one in there]
    table = pa.table({"request_id": pa.array(list(map(name, mine)), pa.string()), "user": mine})
    read = _read(table, place, [ray.put(_index_of(place))])
    assert read["user"].to_pylist() == mine
    assert read["answers"].to_pylist() == [said(one) for one in mine]


def test_a_task_that_is_repeated_leaves_one_file(ledger):
    for table in (rows([5, 6]), rows([6, 5])):
        _kept(table, ledger.place)
    assert len(ledger.place.files()) == 1
    _kept(rows([]), ledger.place)
    assert len(ledger.place.files()) == 1, "nothing to write, no file"


def test_words_are_kept_to_the_last_bit(ledger):
    """Results must not depend on whether an answer is new or was read from the ledger."""
    rng = np.random.default_rng(3)
    one = {
        "written": rng.integers(0, 2**31, 5).tolist(),
        "written_logprobs": rng.standard_normal(5).astype(np.float32).tolist(),
        "options": rng.integers(0, 2**31, 64).tolist(),
        "option_logprobs": (-1e3 * rng.random(64)).astype(np.float32).tolist(),
    }
    row = {"request_id": name(1), "answers": [one, one], "prompt_tokens": 2, "seconds": 0.1}
    table = pa.Table.from_pylist([row, row | {"request_id": name(2), "answers": []}], WORDS)
    write(table, ledger.place)
    assert ledger.place.files()[0].read_table().equals(table)


def test_ids_keep_all_their_bits(ledger):
    close = ["ffffffffffffffff", "fffffffffffffffe", "0000000000000000", "0000000000000001"]
    write(
        pa.Table.from_pylist([{"request_id": one, "answers": []} for one in close[:3]], WORDS), ledger.place
    )
    import ray
    import ray.data

    asked = pa.table({"request_id": close})
    left, count = ledger.left(ids_of(ray.data.from_arrow(asked)))
    assert count == 1 and unanswered(asked, [left])["request_id"].to_pylist() == [close[3]]
    assert ray.get(left).dtype == np.uint64


numbers = st.lists(st.integers(0, 5), max_size=4)
content = st.tuples(
    st.text("ab", max_size=2), st.text("ab1", max_size=3), st.lists(numbers, max_size=3), numbers
)


@given(one=content, other=content)
def test_an_id_depends_on_llm_user_each_prompt_and_each_option(one, other):
    """It also depends on where one of them ends and the next begins."""

    def known(salt: str, user: str, prompts: list[list[int]], options: list[int]) -> bytes:
        written = [np.array(prompt, np.int32) for prompt in prompts]
        return identity(salt.ljust(2, "-"), user, written, np.array(options, np.int32))

    assert (known(*one) == known(*other)) == (one == other)


def test_a_ledger_of_verdicts_is_refused_before_any_work(tmp_path, monkeypatch):
    """Older versions wrote rows of ANSWERS and no format file. Failed before: such a ledger was read, with its outcomes."""
    ws = Workspace(str(tmp_path / "run"))
    row = {"request_id": name(1), "user": 1, "proposals": [{"item": 3, "outcome": "accepted"}]}
    (ws / "ledger/next_item/0123456789abcdef/a.parquet").write_table(answers([row]))
    for place in ("data", "llm/generator", "llm/discriminator"):
        with ws.stage(place, {}).publishing():
            pass
    monkeypatch.setattr(
        "longtail.augment.augment_stage.connect", lambda resources: pytest.fail("Ray was started")
    )
    for command in (augment, run):
        with pytest.raises(
            InputError, match=r"ledger = .*run/ledger: .*stored outcomes instead.*Move that folder away"
        ):
            command(Recipe(name="x"), ws)
    shutil.move(str(ws / "ledger"), tmp_path / "old")
    shared = Recipe(name="x", ledger=str(tmp_path / "old"))
    with pytest.raises(InputError, match=r"ledger = .*old: "):
        open_ledger(shared, ws)
    assert open_ledger(Recipe(name="x"), ws).path == (ws / "ledger").path


def test_a_ledger_says_its_format_and_one_of_tomorrow_is_refused(tmp_path):
    ws = Workspace(str(tmp_path))
    root = open_ledger(Recipe(name="x"), ws)
    assert (root / MARK).read_json() == {"format": FORMAT}
    (root / "next_item/s/a.parquet").write_table(rows([1]).select(WORDS.names))
    assert open_ledger(Recipe(name="x"), ws) == root
    (root / MARK).write_json({"format": FORMAT + 1})
    with pytest.raises(InputError, match=f"writes format {FORMAT + 1}; this one reads format {FORMAT}"):
        open_ledger(Recipe(name="x"), ws)


def test_the_ledger_has_no_column_for_a_verdict():
    names = [*WORDS.names, *(field.name for field in WORDS.field("answers").type.value_type)]
    assert not {"proposals", "outcome", "item", "user", "shown", "history", "held_out"} & {*names}
    assert "proposals" in ANSWERS.names
