"""A tuning survives what clusters do to jobs: a killed worker, a lost node, a killed driver. Its curve is that of an
undisturbed run, and what comes out is a folder that vLLM's and transformers' users can read."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForCausalLM

from app.data import prepare
from app.llm.finetuning import finetune_role
from app.recipe import Recipe
from app.workspace import Workspace
from tests.stack.processes import TRAINER, found, wait_for

RECIPE = """
name: faults
dataset: {source: simulated, simulation: {users: 240, items: 60, tastes: 4}}
llm: {dropout: 0.2}
generator: {epochs: 12, batch: 8, zero: 2, patience: 0, checkpoint_steps: 20}
discriminator: {epochs: 1, batch: 256}
recommenders: {itemcf: {}}
resources: {llm_workers: 2}
"""
pytestmark = [pytest.mark.faults, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def undisturbed(ray_here: None, recipe: Recipe, recipe_file: Path) -> Workspace:
    ws = Workspace(str(recipe_file.parent / "undisturbed"))
    prepare(recipe, ws)
    finetune_role(recipe, ws, "generator")
    return ws


def begun(undisturbed: Workspace, name: str) -> Workspace:
    """A workspace with the same data and examples, in which nothing is tuned yet."""
    ws = Workspace(str(Path(str(undisturbed)).parent / name))
    for place in ("data", "examples/generator"):
        shutil.copytree((undisturbed / place).path, (ws / place).path)
    return ws


def checkpoints(ws: Workspace) -> list[str]:
    files = (ws / "checkpoints").files("checkpoint.json")
    return [file.path for file in files if "/step-" in file.path]


def assert_same_tuning(ws: Workspace, undisturbed: Workspace) -> None:
    ours, theirs = (pq.read_table((one / "llm/generator/curve.parquet").path) for one in (ws, undisturbed))
    assert ours["step"].to_pylist() == theirs["step"].to_pylist()
    np.testing.assert_allclose(ours["loss"].to_numpy(), theirs["loss"].to_numpy(), rtol=1e-3)
    models = [AutoModelForCausalLM.from_pretrained((one / "llm/generator").path) for one in (ws, undisturbed)]
    for name, weight in models[0].state_dict().items():
        np.testing.assert_allclose(weight, models[1].state_dict()[name], atol=1e-3, err_msg=name)
    assert not (ws / "checkpoints").files(), "what is published needs no checkpoints"


def test_a_killed_worker_costs_no_result(undisturbed, recipe, caplog):
    ws = begun(undisturbed, "worker-killed")
    tuning = threading.Thread(target=finetune_role, args=(recipe, ws, "generator"))
    with caplog.at_level("INFO", logger="longtail"):
        tuning.start()
        wait_for(lambda: checkpoints(ws), tuning.is_alive)
        os.kill(found(TRAINER, os.getpid())[-1], signal.SIGKILL)
        tuning.join()
    assert any("generator: goes on after step" in record.message for record in caplog.records)
    assert_same_tuning(ws, undisturbed)


def test_a_killed_driver_goes_on_at_the_next_start(undisturbed, recipe_file):
    ws = begun(undisturbed, "driver-killed")
    command = [str(Path(sys.executable).with_name("longtail")), "finetune", str(recipe_file), "-w", str(ws)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    victim = subprocess.Popen(command, **quiet)
    wait_for(lambda: checkpoints(ws), lambda: victim.poll() is None)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200, start_new_session=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "generator: goes on after step" in done.stderr
    assert_same_tuning(ws, undisturbed)


def test_a_lost_node_is_replaced(undisturbed, recipe_file):
    """Two nodes with room for a worker each; the second is taken away after a checkpoint, and another one joins."""
    ws = begun(undisturbed, "node-lost")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.stack.lost_node", str(recipe_file), str(ws)],
        env=environment | {"RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=1200,
        start_new_session=True,
    )
    assert "generator: goes on after step" in done.stderr, done.stderr[-4000:]
    assert_same_tuning(ws, undisturbed)
