"""The benchmark of fine-tuning: what is compared does the same work, what is counted is counted once, and it runs."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from app.llm.example import Example
from app.llm.tuning.batches import Batch
from jobs.benchmarks.finetune import QUICK, Padded, Plain
from jobs.benchmarks.zero_memory import live_storages


def test_the_plain_and_the_padded_loop_learn_the_same():
    """Equal loss weights, as the padded one has none: the same losses over steps of Adam."""
    rng = np.random.default_rng(0)
    batches = []
    for _ in range(3):
        examples = []
        for length in rng.integers(5, 30, 8):
            weights = np.zeros(length, np.float32)
            weights[-2:] = 1.0
            examples.append(
                Example(rng.integers(QUICK.shape.vocabulary, size=length, dtype=np.int32), weights)
            )
        batches.append(Batch(examples, list(range(8))))
    plain, padded = Plain(QUICK), Padded(QUICK)
    plain.turn(batches)
    padded.turn(batches)
    assert len(plain.losses) == 3
    np.testing.assert_allclose(plain.losses, padded.losses, rtol=1e-4)


def test_memory_counts_a_storage_once_and_gradients_too():
    before = set(live_storages())
    whole = torch.zeros(1000, requires_grad=True)
    views = [whole.detach()[:500], whole.detach().view(10, 100)]
    whole.sum().backward()
    found = {place: size for place, size in live_storages().items() if place not in before}
    assert found[whole.untyped_storage().data_ptr()] == 4000
    assert found[whole.grad.untyped_storage().data_ptr()] == 4000
    assert len(views) == 2 and sum(size == 4000 for size in found.values()) == 2


@pytest.fixture(scope="module")
def figures(tmp_path_factory) -> dict[str, float]:
    """Of `--quick`, as a user runs it: Ray Train, DeepSpeed and worker processes, all real."""
    file = tmp_path_factory.mktemp("figures") / "figures.json"
    command = [sys.executable, "-m", "jobs.benchmark", "finetune", "--quick", "--json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(file.read_text())


@pytest.mark.benchmarks
def test_quick_measures_every_figure(figures):
    for name in ("deepspeed_over_plain", "packed_over_padded", "two_over_one", "zero3_memory_over_zero0"):
        assert figures[name] > 0


@pytest.mark.benchmarks
def test_deepspeed_and_the_plain_loop_have_the_same_losses(figures):
    assert figures["deepspeed_loss_difference"] < 1e-4


@pytest.mark.benchmarks
def test_zero_3_saves_memory(figures):
    """ZeRO's own arithmetic (1910.02054, section 3): 2 + 12 bytes a parameter in bf16, between two workers 7 and a part."""
    assert figures["zero0_bytes_per_parameter"] == pytest.approx(14, rel=0.01)
    assert 7 <= figures["zero3_bytes_per_parameter"] < 9
    assert figures["zero3_memory_over_zero0"] < 0.65
