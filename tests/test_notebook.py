"""The notebook of the documents runs from its first cell to its last, and is committed without what it showed."""

import json
import subprocess
import sys

from tests.conftest import ROOT
from tests.console import environment

NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
ENDING = """
assert len(table) == 5 and table.notna().all(axis=None)
assert recommendations["user_id"].nunique() == 300 and len(recommendations.query("rank == 1")) == 300
assert near["same taste"].mean() > 0.5
print("all cells ran")
"""
"""What must be true after the last cell: figures of five recommenders, a list for each user, neighbours of one taste."""


def cells(kind: str) -> list[str]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def test_it_is_committed_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4 and len(cells("code")) >= 10 and len(cells("markdown")) >= 5
    for cell in notebook["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None


def test_every_cell_runs(tmp_path) -> None:
    """As plain code in a process of its own: a kernel would add nothing but its own packages."""
    script = tmp_path / "notebook.py"
    here = f"import tempfile; tempfile.tempdir = {str(tmp_path)!r}"  # TMPDIR would move Ray, whose sockets need short paths
    script.write_text("\n".join([here, *cells("code"), ENDING]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment(MPLBACKEND="Agg"),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0 and "all cells ran" in done.stdout, done.stderr[-4000:]
