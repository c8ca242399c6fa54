"""Reading a file of a log, with what may be wrong in it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.errors import InputError
from longtail.event_log.log_files import hour_of, log_files, read_log_file
from longtail.event_log.records import INTERACTION, RECOMMENDATION, line
from longtail.workspace.place import Place

EVENT = {
    "event_id": "e1",
    "received": 5,
    "user_id": "u",
    "item_id": "i",
    "time": 4,
    "kind": "click",
    "weight": 0.5,
    "recommendation_id": None,
}


def written(folder: Path, lines: bytes) -> Place:
    (folder / "file").write_bytes(lines)
    return Place(pafs.LocalFileSystem(), str(folder / "file"))


def event(**changed: object) -> dict:
    return EVENT | changed


IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(
    st.lists(
        st.tuples(IDS, IDS, IDS, st.integers(0, 2**63 - 1), st.one_of(st.none(), st.integers(0, 1000))),
        min_size=1,
        max_size=20,
    )
)
def test_any_ids_come_back_as_they_were_written(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:
    """Line breaks of every alphabet, quotes and zero bytes included."""
    records = [
        event(event_id=one, user_id=user, item_id=item, received=time, weight=weight)
        for one, user, item, time, weight in rows
    ]
    file = written(tmp_path_factory.mktemp("log"), b"".join(map(line, records)))
    assert read_log_file(file, INTERACTION).to_pylist() == records


def test_recommendations_come_back_too(tmp_path: Path) -> None:
    record = {
        "recommendation_id": "r",
        "time": 1,
        "user_id": None,
        "arm": "a",
        "model_version": "v",
        "items": ["i", "j"],
    }
    assert read_log_file(written(tmp_path, line(record) * 2), RECOMMENDATION).to_pylist() == [record] * 2


@pytest.mark.parametrize("cut", [1, 10, len(line(EVENT)) - 1])
def test_the_rest_of_a_line_at_the_end_was_never_acknowledged(tmp_path: Path, cut: int) -> None:
    file = written(tmp_path, line(EVENT) + line(event(event_id="e2"))[:cut])
    assert read_log_file(file, INTERACTION).to_pylist() == [EVENT]
    assert read_log_file(written(tmp_path, line(EVENT)[:cut]), INTERACTION).num_rows == 0


def test_only_the_first_bytes_are_read_if_it_grew_since(tmp_path: Path) -> None:
    file = written(tmp_path, line(EVENT) + line(event(event_id="e2")))
    assert read_log_file(file, INTERACTION, len(line(EVENT))).to_pylist() == [EVENT]
    assert read_log_file(file, INTERACTION, len(line(EVENT)) + 5).to_pylist() == [EVENT]


def test_an_unknown_key_of_a_later_version_is_left_out(tmp_path: Path) -> None:
    file = written(tmp_path, line(event(later=[1])))
    assert read_log_file(file, INTERACTION).schema == pa.schema(INTERACTION)
    assert read_log_file(file, INTERACTION).to_pylist() == [EVENT]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (b"{oops\n", "'{oops' is not JSON"),
        (b"7\n", "'7' is not a JSON object"),
        (line({name: value for name, value in EVENT.items() if name != "user_id"}), "has no user_id"),
        (line(event(user_id=None)), "has no user_id"),
        (line(event(time="noon")), "time is no int64"),
        (line(event(item_id=7)), "item_id is no string"),
        (b"\0\0\0\n", "is not JSON"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, wrong: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as raised:
        read_log_file(written(tmp_path, line(EVENT) + wrong + line(EVENT)), INTERACTION)
    assert f"{tmp_path}/file, line 2" in str(raised.value)


def test_hours_are_chosen_by_the_beginning_of_their_names(tmp_path: Path) -> None:
    for hour in ("2026-11-29T23", "2026-11-30T00", "2026-11-30T12"):
        (tmp_path / hour).mkdir()
        (tmp_path / hour / f"{7:020d}-0a1b2c3d.jsonl").write_bytes(b"")
    place = Place(pafs.LocalFileSystem(), str(tmp_path))
    assert [file.hour for file in log_files(place, before="2026-11-30")] == ["2026-11-29T23"]
    assert [file.hour for file in log_files(place, since="2026-11-30")] == ["2026-11-30T00", "2026-11-30T12"]
    assert hour_of(0) == "1970-01-01T00"
