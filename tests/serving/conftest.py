import tempfile
from pathlib import Path

import pytest

from longtail.serving.answering.endpoint import Endpoint
from longtail.workspace import Workspace
from tests.serving.store import endpoint, write_store


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of a node stay in this folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("node")))


@pytest.fixture
def ws(tmp_path: Path) -> Workspace:
    """See `write_store`."""
    return write_store(tmp_path / "ws")


@pytest.fixture
def here(ws: Workspace) -> Endpoint:
    return endpoint(ws)
