"""What is installed from a wheel is whole: recipes and templates travel inside the package, and nothing else does."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel holds, far from any checkout."""
    source, wheels = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    shutil.copytree(ROOT / "app", source / "app", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(wheels))
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(source)], check=True)
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder := tmp_path_factory.mktemp("installed"))
    return folder


def test_the_wheel_holds_one_package(installed: Path):
    assert {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")} == {"longtail"}
    ours = subprocess.run(["git", "ls-files", "app"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = {path.relative_to(installed).as_posix() for path in (installed / "longtail").rglob("*")}
    missing = [name for name in ours.stdout.split() if name.removeprefix("app/") not in found]
    assert len(found) > 100 and not missing


def test_a_shipped_recipe_is_found_by_name_away_from_any_checkout(installed: Path, tmp_path: Path):
    code = "import longtail; from longtail.recipe import load_recipe; print(longtail.__file__, load_recipe('demo').name)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(installed / "longtail/__init__.py"), "demo"]
