"""Tuning survives faults: a killed worker, a lost node, a killed driver. Its loss curve is that of an undisturbed run, and
its result is a folder that vLLM and transformers can load."""

import os
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForCausalLM

from longtail.data import prepare
from longtail.llm.finetune.finetune_stage import finetune_role
from longtail.recipe import Recipe
from longtail.workspace import Workspace
from tests.stack.processes import TRAINER, found, kill_longtail, longtail, run_alone, wait_for

RECIPE = """
name: faults
dataset: {source: simulated, simulation: {users: 240, items: 60, tastes: 4}}
llm: {dropout: 0.2}
generator: {epochs: 12, batch: 8, zero: 2, patience: 0, checkpoint_steps: 20}
discriminator: {epochs: 1, batch: 256}
recommenders: {itemcf: {}}
evaluation: {protocol: train-only}
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
    command = ("finetune", recipe_file, "-w", ws)
    kill_longtail(lambda: checkpoints(ws), *command)
    assert "generator: goes on after step" in longtail(*command).stderr
    assert_same_tuning(ws, undisturbed)


def test_a_lost_node_is_replaced(undisturbed, recipe_file):
    """Two nodes, each with room for a worker. The second is removed after a checkpoint, and a new one joins."""
    ws = begun(undisturbed, "node-lost")
    assert "generator: goes on after step" in run_alone("tests.stack.lost_node", recipe_file, ws).stderr
    assert_same_tuning(ws, undisturbed)
