"""The GPU's figures: made without Ray or DeepSpeed, over an honest count of operations; here on a CPU and a tiny model."""

import json
import subprocess
import sys

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from typer.testing import CliRunner

from jobs.benchmarks.random_llama import Shape
from jobs.gpu_finetune import adapted, flops, gpu_finetune
from longtail.recipe import Tuning

TINY = Shape(hidden=64, layers=2, vocabulary=200)


def test_it_runs_where_there_is_neither_ray_nor_deepspeed_nor_vllm():
    looks = "import sys, jobs.gpu_finetune; print([name for name in ('ray', 'deepspeed', 'vllm') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", looks], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_figures_of_full_and_lora_tuning(tmp_path):
    import typer

    command, file = typer.Typer(), tmp_path / "figures.json"
    command.command()(gpu_finetune)
    tiny = ["--hidden", 64, "--layers", 2, "--vocabulary", 200, "--batch", 4, "--steps", 2]
    more = ["--micro-tokens", 600, "--peak-tflops", 0.5, "--json", file]
    result = CliRunner().invoke(command, [str(one) for one in tiny + more])
    assert result.exit_code == 0, result.output
    found = json.loads(file.read_text())
    for way in ("full", "lora"):
        assert found[way]["tokens_per_second"] > 0 and 0 < found[way]["mfu"] < 1
        assert found[way]["loss_first"] == pytest.approx(
            5.3, abs=0.2
        )  # log(200): random weights know nothing
    assert found["full"]["tuned"] == found["full"]["parameters"]
    assert found["lora"]["tuned"] < 0.5 * found["lora"]["parameters"]


@pytest.mark.parametrize("rank", [0, 4])
def test_operations_are_those_that_torch_counts(rank):
    """Of one example, unpacked: torch's count has the half of the attention, too, that the causal mask hides."""
    length = 24
    model = adapted(TINY, Tuning(lora=rank, gradient_checkpointing=rank > 0))
    model.gradient_checkpointing_disable()
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter:
        logits = model(input_ids=torch.arange(length)[None], use_cache=False).logits
        logits.float().logsumexp(-1).sum().backward()
    hidden_half = 6 * TINY.hidden * TINY.layers * length**2
    counted = counter.get_total_flops() - hidden_half
    assert flops(model, TINY, [length], taught=length) == pytest.approx(counted, rel=0.01)
