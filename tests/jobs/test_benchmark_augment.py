"""The benchmark of augmentation: both sides are asked the same, and it runs as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.benchmark import AUGMENT

pytestmark = [pytest.mark.benchmarks, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """Of `--quick`: Ray Data, three pairs of engines and a process of its own for memory, all real."""
    file = tmp_path_factory.mktemp("figures") / "figures.json"
    command = [sys.executable, "-m", "jobs.benchmark", "augment", "--quick", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(file.read_text())


def test_quick_measures_every_figure(figures):
    assert all(figures[name] > 0 for name in AUGMENT["augment"])


def test_item_tokens_make_more_proposals_than_titles(figures):
    assert figures["topk_over_title_proposals"] > 1


def test_the_drivers_memory_does_not_grow_with_the_users(figures):
    assert figures["driver_memory_1m_over_10k"] < 1.5
