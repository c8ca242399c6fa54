"""The files of a version: made once, shared, kept while they are used, and gone after that."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from longtail.errors import InputError
from longtail.serving.versions import node_files
from longtail.serving.versions.node_files import UNUSED_SECONDS, NodeFiles
from longtail.serving.versions.served_run import sources_of
from longtail.workspace import Workspace
from tests.serving.store import SERVING, evaluated, fit, mapped


def files(ws: Workspace) -> NodeFiles:
    return NodeFiles.of(ws, sources_of(ws, SERVING))


def folders(root: Path) -> set[Path]:
    return {one for one in root.iterdir() if one.is_dir()}


def test_made_once_and_again_for_other_parts(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    first = files(ws)
    made = (first.folder / "fits.json").stat()
    assert files(ws).folder == first.folder and (first.folder / "fits.json").stat() == made
    evaluated(ws, alpha_1=0.9)
    assert files(ws).folder == first.folder, "another fusion needs no other arrays"
    fit(ws, "itemcf", recency=0.5)
    evaluated(ws)
    second = files(ws)
    assert second.folder != first.folder and folders(first.folder.parent) == {first.folder, second.folder}


def test_what_nobody_uses_is_deleted(ws: Workspace) -> None:
    first = files(ws)
    old, root = first.folder, first.folder.parent
    other = root / "other-workspace"
    for folder in (other, root / "recent-workspace"):
        folder.mkdir()
        folder.with_suffix(".lock").touch()
    long_ago = time.time() - UNUSED_SECONDS - 60
    os.utime(other.with_suffix(".lock"), (long_ago, long_ago))
    del first
    fit(ws, "itemcf", recency=0.5)
    evaluated(ws)
    second = files(ws)
    assert folders(root) == {second.folder, root / "recent-workspace"} and not old.exists()


def test_a_version_that_is_mapped_outlives_its_workspace(ws: Workspace) -> None:
    here = mapped(ws)
    for place in ("data", "recommenders", "augmentation"):
        (ws / place).delete()
    here.check()


def test_a_workspace_that_is_rewritten_meanwhile_is_refused(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources, make = sources_of(ws, SERVING), node_files._make

    def rewritten(*given) -> None:
        make(*given)
        fit(ws, "itemcf", recency=0.5)

    monkeypatch.setattr(node_files, "_make", rewritten)
    with pytest.raises(InputError, match="itemcf-0 was rewritten while it was read"):
        NodeFiles.of(ws, sources)


def test_a_folder_of_somebody_else_is_not_trusted(ws: Workspace) -> None:
    root = files(ws).folder.parent
    root.chmod(0o777)
    with pytest.raises(InputError, match="others can write to it.*TMPDIR"):
        files(ws)


def _map(uri: str, root: str, started, told) -> None:
    import tempfile

    tempfile.tempdir = root
    started.wait()
    told.put(str(files(Workspace(uri)).folder))


def test_two_processes_make_one(ws: Workspace, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    started, told = context.Event(), context.Queue()
    (root := tmp_path / "root").mkdir()
    both = [context.Process(target=_map, args=(ws.root.uri, str(root), started, told)) for _ in range(2)]
    for process in both:
        process.start()
    started.set()
    found = {told.get(timeout=600) for _ in both}
    for process in both:
        process.join()
    assert len(found) == 1 and not list(root.glob("*/*.draft"))
