"""The ledger: what is answered is not asked again, a file that was cut off counts as nothing, repeats count once."""

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from app.augment.ledger import Ledger
from app.schema import ANSWERS
from app.workspace import Place

pytestmark = pytest.mark.usefixtures("ray_here")


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    return Ledger(Place(pafs.LocalFileSystem(), str(tmp_path / "ledger")))


def answers(users: list[int]) -> pa.Table:
    blank = {name: None for name in ANSWERS.names}
    return pa.Table.from_pylist(
        [blank | {"request_id": f"{user:016x}", "user": user, "proposals": []} for user in users], ANSWERS
    )


def requests(users: int):
    import ray.data

    return ray.data.from_arrow(pa.table({"request_id": [f"{user:016x}" for user in range(users)]}))


def test_only_what_has_no_answer_remains(ledger):
    import ray.data

    assert ledger.remaining(requests(10)).count() == 10
    ledger.append(ray.data.from_arrow(answers([0, 3, 9])))
    left = ledger.remaining(requests(10)).to_pandas()["request_id"].tolist()
    assert sorted(int(one, 16) for one in left) == [1, 2, 4, 5, 6, 7, 8]
    ledger.append(ray.data.from_arrow(answers([1, 2, 4, 5, 6, 7, 8])))
    assert ledger.remaining(requests(10)).count() == 0
    assert ledger.read().count() == 10


def test_a_file_that_was_cut_off_is_removed_and_asked_again(ledger):
    (ledger.place / "whole.parquet").write_table(answers([0, 1]))
    (ledger.place / "cut.parquet").write_table(answers([2, 3]))
    cut = ledger.place / "cut.parquet"
    cut.write_bytes(cut.read_bytes()[:-30])
    assert ledger.remaining(requests(4)).count() == 2
    assert not cut.exists() and (ledger.place / "whole.parquet").exists()


def test_a_request_that_was_written_twice_is_read_once(ledger):
    (ledger.place / "a.parquet").write_table(answers([0, 1]))
    (ledger.place / "b.parquet").write_table(answers([1, 2]))
    assert sorted(ledger.read().to_pandas()["user"]) == [0, 1, 2]
