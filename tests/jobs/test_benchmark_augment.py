"""The benchmark of augmentation: the pipeline and the bare engine answer the same, and the driver's memory stays flat."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.benchmarks import augment_memory

pytestmark = pytest.mark.timeout(1500)
ONE = """
import json, sys
from jobs.benchmarks.augment import SMALL, Size, _over_engine
print(json.dumps(_over_engine(sys.argv[1], "judge", SMALL, Size({"judge": 128}, turns=1))))
"""


def test_the_dearest_figure_is_measured_on_real_engines(tmp_path):
    """`judge` has two engines in the pipeline and a bare one that is asked what both were."""
    command = [sys.executable, "-c", ONE, str(tmp_path / "judge")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2000:]
    figures = json.loads(done.stdout.splitlines()[-1])
    assert set(figures) == {"judge_over_engine", "judge_per_second"}
    assert all(value > 0 for value in figures.values())


def test_the_drivers_memory_does_not_grow_with_the_users():
    assert augment_memory.measure(quick=True)["driver_memory_1m_over_10k"] < 1.5
