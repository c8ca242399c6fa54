"""The real command, through a pipe and at a terminal: its records, its bars, its result, and names that collide."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.console import RECIPE, at_a_terminal, environment, piped, without_codes

RECORD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (info|warning|error) +\S")
COLLIDING = ("app.py", "jobs.py", "app/__init__.py", "jobs/__init__.py", "torch.py", "ray.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A working folder with files and folders named as modules of ours and of others, none of which may be loaded."""
    folder = tmp_path_factory.mktemp("working")
    for name in COLLIDING:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f"raise SystemExit('{name} of the working folder was loaded')\n")
    (folder / "tiny.yaml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def ran(folder: Path):
    """A whole run through a pipe, its Ray's workers included."""
    return piped("run", "tiny.yaml", "-w", "run", cwd=folder)


def test_a_run_works_beside_files_named_as_our_modules(ran, folder):
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert (folder / "run/report/index.html").exists()


@pytest.mark.parametrize("command", ["run", "report"])
def test_the_module_works_beside_files_named_as_those_of_others(ran, folder, command):
    """`python -m` looks for our package in the working folder first, so that only this name cannot be had there."""
    command = [sys.executable, "-m", "longtail", command, "tiny.yaml", "-w", "run"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]


def test_in_a_pipe_every_line_of_standard_error_is_one_record(ran):
    lines = ran.stderr.splitlines()
    assert len(lines) > 20 and not [line for line in lines if not RECORD.match(line)]
    assert "\x1b" not in ran.stderr + ran.stdout


def test_the_stages_are_counted_in_their_order(ran):
    found = re.findall(r"stage (\d) of (\d): (\w+)", ran.stderr)
    names = ["prepare", "embed", "finetune", "augment", "fuse", "train", "evaluate", "report"]
    assert found == [(str(number), "8", name) for number, name in enumerate(names, start=1)]


def test_progress_has_a_share_and_names_what_it_is_of(ran):
    assert re.search(r"observed/bpr-0: 3 of 3 epochs \(100%\), loss 0\.\d+, validation NDCG@10", ran.stderr)
    assert "train: 2 of 2 fits (100%)" in ran.stderr
    assert ran.stderr.count("evaluate: 2 of 2 evaluations (100%)") == 2, "both rounds"


def test_the_end_says_what_was_found_for_whom_what_it_cost_where_it_is_and_what_is_next(ran, folder):
    metrics = json.loads((folder / "run/report/metrics.json").read_text())
    said = ran.stdout
    assert metrics["verdict"]["sentences"][0].startswith("Serve ")
    assert all(one in said for one in metrics["verdict"]["sentences"]) and "60 users" in said
    assert re.search(r"Cost .*prepare \d.*train \d", said)
    assert f"{folder}/run/report/index.html\n" in said
    assert "longtail serve tiny.yaml --workspace run" in said and "longtail tune tiny.yaml" in said


def test_as_json_every_line_is_an_object_and_the_result_stays_a_text(folder, ran):
    done = piped("run", "tiny.yaml", "-w", "run", "--log", "json", cwd=folder)
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert [one["stage"] for one in said if "stage" in one] == list(range(1, 8))
    assert all({"time", "level", "source", "message"} <= one.keys() for one in said)
    assert done.stdout == ran.stdout


def test_as_json_an_error_is_one_object(tmp_path):
    done = piped("run", "none.yaml", "--log", "json", cwd=tmp_path)
    (line,) = done.stderr.splitlines()
    assert (
        done.returncode == 2
        and json.loads(line)["level"] == "error"
        and "none.yaml" in json.loads(line)["message"]
    )


def test_a_terminal_shows_bars_and_a_link(folder, ran):
    changes = (
        "--set",
        "evaluation.ks=[5]",
        "--set",
        # A fit says how far it is once a second, so that it must take longer than that on any machine.
        "recommenders={bpr: {epochs: 6000, validate_every: 3000, patience: 9}}",
    )
    code, drawn = at_a_terminal("run", "tiny.yaml", "-w", "run", *changes, cwd=folder, columns=160)
    text = without_codes(drawn)
    assert code == 0, text[-3000:]
    assert "stage 8 of 8: report" in text and re.search(r"\d:\d\d:\d\d", text)
    assert "\x1b]8;id=" in drawn and f"file://{folder}/run/report/index.html" in drawn
    assert re.search(r"observed/bpr-0 .*[\d,]+/6,000 epochs, [\d.e+]+/s, .* left", text), text[-3000:]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.mark.faults  # each waits a minute and a half for a Ray that does not come
@pytest.mark.parametrize("how", ["RAY_GCS_SERVER_PORT", "RAY_ADDRESS"])
def test_a_ray_that_cannot_be_had_is_tried_twice_and_then_said_in_one_message(folder, taken_port, how):
    """Its port is taken; or nobody answers like a Ray where one is said to be."""
    value = {"RAY_GCS_SERVER_PORT": str(taken_port), "RAY_ADDRESS": f"127.0.0.1:{taken_port}"}[how]
    done = piped("prepare", "tiny.yaml", "-w", f"none-{how}", cwd=folder, **{how: value})
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr[-4000:]
    assert sum("trying once more" in line for line in lines) == 1
    assert "2 times" in lines[-1] and "/logs" in lines[-1] and " error " in lines[-1]
    assert not [line for line in lines if not RECORD.match(line)]
