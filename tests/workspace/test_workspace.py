"""The workspace: a place is published whole or not at all, on any file system; what is up to date stays."""

import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.fs as pafs
import pytest

from longtail.errors import InputError
from longtail.workspace import Workspace, fingerprint, read_manifest, swap
from longtail.workspace.place import Place
from longtail.workspace.swap import MANIFEST


@pytest.fixture(params=["local", "two renames", "in memory"])
def ws(request, tmp_path, monkeypatch) -> Workspace:
    workspace = Workspace(str(tmp_path / "run"), {"name": "test"})
    if request.param == "in memory":  # a file system without renames of folders, as object stores are
        fs, _ = pafs.FileSystem.from_uri("mock:///")
        workspace.root = Place(fs, "bucket/run", "mock:///", f"?{tmp_path.name}")
    if request.param == "two renames":  # as on NFS
        monkeypatch.setattr(swap, "_exchanged", lambda one, other: False)
    return workspace


def publish(ws: Workspace, name: str, settings: object, text: str, inputs: list[Place] | None = None) -> None:
    stage = ws.stage(name, settings, inputs)
    with stage.publishing() as draft:
        (draft / "deep" / "file.txt").write_bytes(text.encode())
        stage.counts = {"rows": 1}


def names(ws: Workspace) -> set[str]:
    return {file.path.removeprefix(ws.root.path) for file in ws.root.files()}


def test_a_published_place_has_its_files_and_its_manifest(ws):
    publish(ws, "data", {"a": 1}, "hello")
    assert (ws / "data/deep/file.txt").read_bytes() == b"hello"
    manifest = read_manifest(ws / "data")
    assert manifest["counts"] == {"rows": 1} and manifest["settings"] == {"a": 1}
    assert manifest["files"] == {"deep/file.txt": 5} and manifest["recipe"] == {"name": "test"}
    assert list(ws.manifests()) == ["data"]
    assert names(ws) == {"/data/_manifest.json", "/data/deep/file.txt", "/recipe.yaml"}


def test_a_stage_is_up_to_date_until_its_meaning_settings_or_inputs_change(ws):
    publish(ws, "data", {"a": 1}, "one")
    publish(ws, "fused/observed", {}, "two", [ws / "data"])
    assert ws.stage("data", {"a": 1}).up_to_date and not ws.stage("data", {"a": 2}).up_to_date
    assert not ws.stage("data", {"a": 1}, meaning=2).up_to_date
    assert ws.stage("fused/observed", {}, [ws / "data"]).up_to_date
    publish(ws, "data", {"a": 2}, "three")
    assert not ws.stage("fused/observed", {}, [ws / "data"]).up_to_date


@pytest.mark.parametrize("fault", ["lost", "cut off"])
def test_a_place_that_lost_a_file_is_made_again(ws, fault):
    publish(ws, "data", {}, "whole")
    file = ws / "data/deep/file.txt"
    file.delete() if fault == "lost" else file.write_bytes(b"who")
    assert not ws.stage("data", {}).up_to_date
    publish(ws, "data", {}, "whole")
    assert ws.stage("data", {}).up_to_date


def test_a_workspace_of_a_version_that_did_not_know_the_code_is_made_again(ws):
    (ws / "data" / MANIFEST).write_json({"fingerprint": "0", "counts": {}, "seconds": 1.0})
    assert read_manifest(ws / "data") is None and not ws.manifests()
    with pytest.raises(InputError, match="data is missing"):
        ws.require("data")


def test_a_stage_that_fails_leaves_what_was_there(ws):
    publish(ws, "data", {}, "old")
    stage = ws.stage("data", {"new": True})
    with pytest.raises(RuntimeError), stage.publishing() as draft:
        (draft / "file.txt").write_bytes(b"half")
        raise RuntimeError("cut off")
    assert (ws / "data/deep/file.txt").read_bytes() == b"old"
    assert not [name for name in names(ws) if "draft" in name]


def test_publishing_again_replaces_all_of_the_old(ws):
    publish(ws, "data", {}, "old")
    stage = ws.stage("data", {"new": True})
    with stage.publishing() as draft:
        (draft / "other.txt").write_bytes(b"new")
    assert [file.name for file in (ws / "data").files()] == [MANIFEST, "other.txt"]


def test_a_draft_that_was_removed_is_never_published(ws):
    """Another command removed it, and what was written after that made the folder again."""
    publish(ws, "data", {}, "old")
    stage = ws.stage("data", {"new": True})
    with pytest.raises(InputError, match="removed while it was written"), stage.publishing() as draft:
        (draft / "items.parquet").write_bytes(b"first")
        draft.delete()
        (draft / "histories/0.parquet").write_bytes(b"second")
    assert (ws / "data/deep/file.txt").read_bytes() == b"old"


KILLED_AT = """
import os, sys
from longtail.workspace import swap
from longtail.workspace.place import Place
from longtail.workspace import Workspace
if sys.argv[3] == "two renames":
    swap._exchanged = lambda one, other: False
steps = int(sys.argv[2])
def step(frame, event, argument):
    global steps
    if frame.f_code.co_filename == swap.__file__:
        if event == "line":
            steps -= 1
            if not steps:
                os._exit(9)
        return step
stage = Workspace(sys.argv[1]).stage("data", {"new": True})
with stage.publishing() as draft:
    (draft / "new.txt").write_bytes(b"new")
    sys.settrace(step)
"""


@pytest.mark.parametrize("way", ["exchange", "two renames"])
def test_a_kill_at_any_line_of_the_swap_loses_neither_old_nor_new(tmp_path, way):
    for line in range(1, 100):
        path = str(tmp_path / str(line))
        publish(Workspace(path), "data", {}, "old")
        command = [sys.executable, "-c", KILLED_AT, path, str(line), way]
        killed = subprocess.run(command, check=False, env=os.environ | {"PYTHONPATH": os.getcwd()}).returncode
        publish(Workspace(path), "other", {}, "next")
        ws = Workspace(path)
        (stage,) = [ws.stage("data", read_manifest(ws / "data")["settings"])]
        assert stage.up_to_date, f"line {line}"
        assert not [name for name in names(ws) if swap.DRAFT in name or swap.OLD in name]
        if killed == 0:
            break
    assert killed == 0 and line > 8


def test_a_copy_that_was_cut_off_is_finished_by_the_next_writer(tmp_path):
    fs, _ = pafs.FileSystem.from_uri("mock:///")
    ws = Workspace(str(tmp_path))
    ws.root = Place(fs, "bucket/run", "mock:///", "?cut-off")
    publish(ws, "data", {}, "old")
    draft = swap.begin(ws / "data")
    (draft / "a.txt").write_bytes(b"new")
    (draft / swap._WHOLE).write_json(read_manifest(ws / "data") | {"files": swap.sizes(draft)})
    (ws / "data").delete()  # the copy had begun
    publish(ws, "other", {}, "next")
    assert (ws / "data/a.txt").read_bytes() == b"new" and read_manifest(ws / "data")["files"] == {"a.txt": 3}
    assert not [name for name in names(ws) if swap.DRAFT in name]


def test_who_takes_the_lease_removes_what_a_killed_run_left(ws):
    (ws / "fused" / ".draft-observed-1-2" / "file").write_bytes(b"x")
    publish(ws, "fused/observed", {}, "kept")
    assert not [name for name in names(ws) if "draft" in name] and (ws / "fused/observed").exists()


def test_looking_at_a_workspace_writes_nothing(tmp_path):
    ws = Workspace(str(tmp_path / "run"), {"name": "test"})
    assert ws.manifests() == {} and ws.saved_recipe() is None and not ws.stage("data", {}).up_to_date
    with pytest.raises(InputError):
        ws.require("data")
    assert not (tmp_path / "run").exists()


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


def test_what_is_kept_stays_as_it_was_and_is_kept_once(ws):
    def publish(number):
        with ws.stage("report", {"number": number}).publishing() as draft:
            (draft / "metrics.json").write_json(number)
        ws.keep("report", "reports")

    ws.keep("report", "reports")
    assert not (ws / "reports").exists(), "there is none yet"
    for number in (1, 2, 1):
        publish(number)
    ws.keep("report", "reports")
    kept = [name for name in ws.manifests() if name.startswith("reports/")]
    assert kept == ["reports/1", "reports/2"]
    assert [(ws / name / "metrics.json").read_json() for name in kept] == [1, 2]
    assert (ws / "report/metrics.json").read_json() == 1


def test_little_disk_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="GiB of disk left"):
        Workspace(str(tmp_path / "new/run"))._check_space(needed_gib=1e9)


def test_fingerprints_do_not_depend_on_the_order_of_keys():
    assert (
        fingerprint({"a": 1, "b": [1, 2]})
        == fingerprint({"b": [1, 2], "a": 1})
        != fingerprint({"a": 1, "b": [2, 1]})
    )


@pytest.mark.parametrize("below", ["", "/deep/er"])
def test_a_workspace_that_is_a_file_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file is a file"):
        Workspace(f"{tmp_path}/file{below}")
