"""The benchmarks of the endpoint run as a user runs them, and no request of theirs is refused."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jobs.benchmark import SERVING, SOAK
from jobs.benchmarks.soak import _growth


def figures(folder: Path, name: str) -> dict[str, float]:
    """Of `--quick`: Ray Serve, replicas and clients, all real."""
    file = folder / "figures.json"
    command = [sys.executable, "-m", "jobs.benchmark", name, "--quick", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(file.read_text())


def test_growth_ignores_the_warm_up_and_sees_a_leak() -> None:
    assert _growth([50, *[100] * 40]) == 0
    leaking = list(np.linspace(100, 200, 101).astype(int))
    assert _growth(leaking) == pytest.approx(196 / 114 - 1)


@pytest.mark.benchmarks
@pytest.mark.timeout(1500)
def test_quick_measures_every_figure_of_serving(tmp_path: Path) -> None:
    found = figures(tmp_path, "serving")
    assert all(found[name] > 0 for names in SERVING.values() for name in names)


@pytest.mark.benchmarks
@pytest.mark.timeout(1500)
def test_no_request_of_the_soak_is_refused(tmp_path: Path) -> None:
    found = figures(tmp_path, "soak")
    assert set(SOAK["soak"]) <= set(found)
    assert found["soak_requests"] > 100 and found["soak_not_200"] == 0
