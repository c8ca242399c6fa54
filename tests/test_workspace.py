"""The workspace: a place is published whole or not at all, on any file system; what is up to date stays."""

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from app.errors import InputError
from app.workspace import MANIFEST, Place, Workspace, fingerprint, read_manifest


@pytest.fixture(params=["local", "in memory"])
def ws(request, tmp_path) -> Workspace:
    workspace = Workspace(str(tmp_path / "run"))
    if request.param == "in memory":  # a file system without atomic renames, as object stores are
        fs, _ = pafs.FileSystem.from_uri("mock:///")
        workspace.root = Place(fs, "bucket/run")
    return workspace


def publish(ws: Workspace, name: str, settings: object, text: str, inputs: list[Place] | None = None) -> None:
    stage = ws.stage(name, settings, inputs)
    with stage.publishing() as draft:
        (draft / "deep" / "file.txt").write_bytes(text.encode())
        stage.counts = {"rows": 1}


def test_a_published_place_has_its_files_and_its_manifest(ws):
    publish(ws, "data", {"a": 1}, "hello")
    assert (ws / "data/deep/file.txt").read_bytes() == b"hello"
    manifest = read_manifest(ws / "data")
    assert manifest["counts"] == {"rows": 1} and manifest["settings"] == {"a": 1}
    assert list(ws.manifests()) == ["data"]


def test_a_stage_is_up_to_date_until_its_settings_or_inputs_change(ws):
    publish(ws, "data", {"a": 1}, "one")
    publish(ws, "fused/observed", {}, "two", [ws / "data"])
    assert ws.stage("data", {"a": 1}).up_to_date and not ws.stage("data", {"a": 2}).up_to_date
    assert ws.stage("fused/observed", {}, [ws / "data"]).up_to_date
    publish(ws, "data", {"a": 2}, "three")
    assert not ws.stage("fused/observed", {}, [ws / "data"]).up_to_date


def test_a_stage_that_fails_leaves_what_was_there(ws):
    publish(ws, "data", {}, "old")
    stage = ws.stage("data", {"new": True})
    with pytest.raises(RuntimeError), stage.publishing() as draft:
        (draft / "file.txt").write_bytes(b"half")
        raise RuntimeError("cut off")
    assert (ws / "data/deep/file.txt").read_bytes() == b"old"
    assert not [file for file in ws.root.files() if "draft" in file.path]


def test_publishing_again_replaces_all_of_the_old(ws):
    publish(ws, "data", {}, "old")
    stage = ws.stage("data", {"new": True})
    with stage.publishing() as draft:
        (draft / "other.txt").write_bytes(b"new")
    assert [file.name for file in (ws / "data").files()] == [MANIFEST, "other.txt"]


def test_clean_removes_what_a_killed_run_left(ws):
    (ws / "fused" / ".draft-observed-1-2" / "file").write_bytes(b"x")
    publish(ws, "fused/observed", {}, "kept")
    ws.clean()
    assert {file.name for file in ws.root.files()} == {"file.txt", MANIFEST}


def test_a_missing_input_names_the_command_that_makes_it(ws):
    with pytest.raises(InputError, match="llm/generator is missing.*longtail finetune"):
        ws.stage("augmentation/next_item", {}, [ws / "llm/generator"])
    with pytest.raises(InputError, match="longtail train"):
        ws.require("recommenders/observed/swing-0")


def test_tables_and_local_copies_survive(ws):
    table = pa.table({"a": [1, 2, 3]})
    (ws / "t/x.parquet").write_table(table)
    assert (ws / "t/x.parquet").read_table().equals(table)
    with (ws / "t").local() as folder:
        assert (folder / "x.parquet").exists()


def test_little_disk_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="GiB of disk left"):
        Workspace(str(tmp_path)).check_space(needed_gib=1e9)


def test_fingerprints_do_not_depend_on_the_order_of_keys():
    assert (
        fingerprint({"a": 1, "b": [1, 2]})
        == fingerprint({"b": [1, 2], "a": 1})
        != fingerprint({"a": 1, "b": [2, 1]})
    )
