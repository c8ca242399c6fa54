"""Augmentation survives faults: a killed engine, actor, node or driver, and a row that the engine rejects.

After each fault there is exactly one answer per request, outcomes add up, and answered requests were not asked again.
"""

import json
import os
import shutil
import signal
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.augment import augment
from longtail.data import prepare
from longtail.errors import InputError
from longtail.llm.vllm_pool import Engine, Sampling, engine_arguments
from longtail.recipe import Recipe, Resources
from longtail.runtime.cluster import ENGINE_APART
from longtail.schema import OUTCOMES
from longtail.workspace import Workspace
from tests.augment.conftest import answered
from tests.stack.lost_node_augment import BEFORE
from tests.stack.processes import ACTOR, ENGINE, found, kill_longtail, longtail, run_alone, wait_for
from tests.stack.small_llm import write_llm

RECIPE = """
name: faults
dataset: {source: simulated, simulation: {users: 9000, items: 200, tastes: 4, mean_history: 6}}
generator: {context: 128}
augment: [{strategy: next_item, proposals: 4}]
judge: {yes_no: 0.0}
variants: [observed, generated]
recommenders: {itemcf: {}}
evaluation: {protocol: train-only}
"""
pytestmark = [pytest.mark.faults, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def whole(ray_here: None, recipe: Recipe, recipe_file: Path) -> Workspace:
    """A workspace that is ready to be augmented."""
    ws = Workspace(str(recipe_file.parent / "whole"))
    prepare(recipe, ws)
    write_llm(ws)
    return ws


@pytest.fixture
def ws(whole: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(str(whole), tmp_path / "run")
    return Workspace(str(tmp_path / "run"))


class Running:
    """An augmentation in a thread of this process."""

    def __init__(self, recipe: Recipe, ws: Workspace) -> None:
        self.ws = ws
        self.thread = threading.Thread(target=self._run, args=(recipe,))
        self.fault: BaseException | None = None
        self.thread.start()

    def _run(self, recipe: Recipe) -> None:
        try:
            augment(recipe, self.ws)
        except BaseException as fault:
            self.fault = fault

    def answers_more_than(self, files: int) -> None:
        wait_for(lambda: len(written(self.ws)) > files, self.thread.is_alive)

    def ended(self) -> None:
        self.thread.join()
        if self.fault:
            raise self.fault


def written(ws: Workspace) -> dict[str, int]:
    """The files of the ledger, with the time when each was written. Only complete files have this ending."""
    return {file.path: Path(file.path).stat().st_mtime_ns for file in (ws / "ledger").files(".parquet")}


def kill(title: str) -> int:
    (pid,) = found(title, os.getpid())
    os.kill(pid, signal.SIGKILL)
    return pid


def assert_each_answered_once(ws: Workspace, before: dict[str, int]) -> None:
    """before: the files of the ledger at the time of the fault."""
    histories = (ws / "data/histories").read_table(["user", "train_end"])
    users = histories.filter(pa.compute.field("train_end") > 0)["user"].to_pylist()
    assert before and len(before) < len(written(ws)), "the fault came in the middle"
    assert before.items() <= written(ws).items(), "what was answered was not asked again"
    kept = pa.concat_tables([pq.read_table(file, columns=["request_id"]) for file in written(ws)])
    answers = (ws / "augmentation/next_item/answers").read_table()
    assert sorted(answers["user"].to_pylist()) == sorted(users)
    ids = sorted(answers["request_id"].to_pylist())
    assert sorted(kept["request_id"].to_pylist()) == ids and len({*ids}) == len(users)
    counts = json.loads((ws / "augmentation/next_item/_manifest.json").read_bytes())["counts"]
    outcomes = pa.compute.struct_field(answers["proposals"].combine_chunks().flatten(), "outcome")
    said = {one["values"]: one["counts"] for one in outcomes.value_counts().to_pylist()}
    assert {name: said.get(name, 0) for name in OUTCOMES} == counts["outcomes"]
    assert sum(counts["outcomes"].values()) == counts["proposals"] == len(outcomes)
    assert (counts["requests"], counts["questions"], counts["errors"]) == (len(users), len(users), 0)


def test_an_engine_killed_twice(recipe, ws):
    """In one run: first the actor of the engine is killed, then the one that replaces it."""
    running = Running(recipe, ws)
    running.answers_more_than(0)
    dead = kill(ACTOR)
    before = written(ws)
    wait_for(lambda: any(pid != dead for pid in found(ACTOR, os.getpid())), running.thread.is_alive)
    running.answers_more_than(len(written(ws)))
    kill(ACTOR)
    later = written(ws)
    assert before.items() <= later.items()
    running.ended()
    assert_each_answered_once(ws, later)


def test_a_lost_node(recipe_file, ws):
    """Two nodes, each with room for an engine. The node that runs the engine is removed."""
    run_alone("tests.stack.lost_node_augment", recipe_file, ws)
    before = (ws / BEFORE).read_json()
    assert_each_answered_once(ws, {file: written(ws)[file] for file in before})


def test_a_killed_driver_and_the_command_again(recipe_file, ws):
    victim = kill_longtail(lambda: written(ws), "augment", recipe_file, "-w", ws)
    wait_for(lambda: not found("ray::", victim), lambda: True)
    before = written(ws)
    assert not (ws / "augmentation/next_item/_manifest.json").exists()
    longtail("augment", recipe_file, "-w", ws)
    assert_each_answered_once(ws, before)
    assert not found(ACTOR, victim), "no engine of the killed run lives on"


def test_a_driver_killed_while_the_discriminator_answers(recipe_file, ws):
    """The generator is not asked again, and no question twice."""
    write_llm(ws, role="discriminator")
    command = ("augment", recipe_file, "-w", ws, "--set", "judge.yes_no=0.2")
    kill_longtail(lambda: list((ws / "ledger/yes_no").files(".parquet")), *command)
    before = written(ws)
    longtail(*command)
    assert before.items() <= written(ws).items() and len(before) < len(written(ws))
    of_questions = [file for file in written(ws) if "/yes_no/" in file]
    met, asked = (
        [one for file in files for one in pq.read_table(file)["question"].to_pylist()]
        for files in ([file for file in of_questions if file in before], of_questions)
    )
    counts = json.loads((ws / "augmentation/next_item/_manifest.json").read_bytes())["counts"]
    assert 0 < len(met) < len(asked) == len({*asked}) == counts["judge_questions"]


def test_an_engine_that_answers_nonsense_stops_the_run_and_keeps_the_ledger(recipe, ws):
    write_llm(ws, speechless=True)
    with pytest.raises(InputError, match=r"augment.next_item: .* name nothing of the catalogue .* `useless`"):
        augment(recipe, ws)
    assert not (ws / "augmentation/next_item/_manifest.json").exists()
    kept = written(ws)
    assert kept
    permissive = tuple(entry.model_copy(update={"useless": 1.0}) for entry in recipe.augment)
    augment(recipe.model_copy(update={"augment": permissive}), ws)
    assert_each_answered_once(ws, kept)


def test_an_engine_in_a_process_of_its_own_ends_its_actor(whole):
    """As on a GPU. vLLM's client would wait for ever for a killed engine, and Ray Data for the actor."""
    import ray
    from ray.exceptions import RayActorError

    apart = {"env_vars": {ENGINE_APART: "1"}}
    engine = ray.remote(num_cpus=1, runtime_env=apart)(Engine).remote(
        whole / "llm/generator", engine_arguments(whole / "llm/generator", Resources(), 64), Sampling(top=8)
    )
    asked = answered([{"prompts": [[5, 6, 7]], "options": []}])
    asked = asked.select(["request_id", "user", "prompts", "options"])
    assert ray.get(engine.__call__.remote(asked)).num_rows == 1
    kill(ENGINE)
    with pytest.raises(RayActorError):
        ray.get(engine.__call__.remote(asked))


def test_a_row_that_the_engine_rejects_is_an_error_and_its_neighbours_are_answered(whole):
    """The prompt is too long for the context, or empty, as a prompt that cannot be cut to the context."""
    import ray

    context = 64
    prompts = [[[5, 6, 7]], [[5] * (context + 1)], [[]], [[5, 6, 7], [6, 7]], [[5, 6, 7], [5] * 500]]
    arguments = engine_arguments(whole / "llm/generator", Resources(), context)
    engine = ray.remote(num_cpus=1)(Engine).remote(whole / "llm/generator", arguments, Sampling(top=8))

    def say(options: list[list[int]]) -> list[dict]:
        rows = [{"prompts": one, "options": other} for one, other in zip(prompts, options, strict=True)]
        asked = answered(rows).select(["request_id", "user", "prompts", "options"])
        return ray.get(engine.__call__.remote(asked)).to_pylist()

    found = say([[]] * 5)
    assert [row["user"] for row in found] == list(range(5))
    assert [row["error"] is None for row in found] == [True, False, False, True, False]
    assert [len(row["answers"]) for row in found] == [1, 0, 0, 2, 0]
    assert "65" in found[1]["error"], "it says how long the prompt was"
    (likeliest,), (same, other) = found[0]["answers"], found[3]["answers"]
    assert same["options"] == likeliest["options"] and len(likeliest["options"]) == 8
    assert other["options"] != same["options"]
    assert likeliest["option_logprobs"] == sorted(likeliest["option_logprobs"], reverse=True)
    first, second = likeliest["options"][:2]
    # Rows may be asked for different numbers of options, in any order.
    given = say([[second, first], [3], [3], [first, 4, second], [3]])
    assert given[0]["answers"][0]["options"] == [second, first]
    assert [one["options"] for one in given[3]["answers"]] == [[first, 4, second]] * 2
    expected = dict(zip(likeliest["options"], likeliest["option_logprobs"], strict=True))
    for one in (given[0]["answers"][0], given[3]["answers"][0]):
        told = dict(zip(one["options"], one["option_logprobs"], strict=True))
        assert {token: told[token] for token in (first, second)} == pytest.approx(
            {token: expected[token] for token in (first, second)}, abs=1e-4
        )
    ray.kill(engine)
