"""What is pinned is all that the package asks for, in versions that it takes: the pins are installed without looking."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
FILES = {"cpu": ("cpu.txt", "torch-cpu.txt"), "gpu": ("gpu.txt",)}


@pytest.mark.parametrize("machine", FILES)
def test_everything_that_the_package_asks_for_is_pinned(machine: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras[machine], *extras["pretrained"]]
    pinned = {}
    for name in FILES[machine]:
        for line in (ROOT / "requirements" / name).read_text().splitlines():
            package, is_pin, version = line.partition("==")
            if is_pin and not line.startswith("#"):
                pinned[canonicalize_name(package)] = version
    wanted = {canonicalize_name(need.name): need.specifier for need in map(Requirement, asked)}
    assert not [name for name, versions in wanted.items() if not versions.contains(pinned.get(name, "0"))]
