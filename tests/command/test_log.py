"""What others write while a command works becomes records too: none is lost, none comes through raw."""

import io
import json
import logging
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from longtail.command.log import Form, Lines
from longtail.progress import FIGURES, figures_of, progress
from tests.console import at_a_terminal, environment, without_codes

OTHERS = """
import logging, os, subprocess, sys, warnings
from longtail.command.log import Form, results, speaking

with speaking(Form(sys.argv[1])):
    os.write(2, b"[2026-01-31 12:00:00,000 E 12 34] core_worker.cc:1: the node is gone\\n")
    os.write(2, b"10%\\r50%\\r100% done\\n\\n")
    subprocess.run(["bash", "-c", "echo a child says so >&2"])
    warnings.warn("an old name", stacklevel=1)
    print("a library prints")
    logging.getLogger("longtail").info("two lines\\nof ours")
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("longtail").exception("it broke")
    os.write(2, b"no end of line")
results().print("the result")
print("after", file=sys.stderr)
"""


def said(form: str) -> tuple[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", OTHERS, form],
        cwd=Path(__file__).parents[2],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


@pytest.mark.parametrize("form", ["text", "json"])
def test_all_that_is_written_is_said_once_and_the_result_stands_alone(form):
    result, lines = said(form)
    assert result == "the result\n"
    assert lines.pop() == "after", "standard error is itself again"
    if form == "json":
        records = [json.loads(line) for line in lines]
        texts = [record["level"] + " " + record["message"] for record in records]
        assert [record["traceback"] for record in records if "traceback" in record][0].endswith(
            "ValueError: broken"
        )
    else:
        texts = [" ".join(line.split()[2:]) for line in lines]
    for text in (
        "error ray: core_worker.cc:1: the node is gone",
        "info 100% done",
        "info a child says so",
        "info a library prints",
        "error it broke",
        "info no end of line",
    ):
        assert texts.count(text) == 1, (text, texts)
    assert sum("an old name" in text for text in texts) == 1


def test_as_text_every_line_of_a_record_has_its_time_and_level():
    _, lines = said("text")
    ours = [line for line in lines if line.endswith(("two lines", "of ours"))]
    assert len(ours) == 2 and ours[0][:28] == ours[1][:28] and " info " in ours[0]
    trace = [line for line in lines if line.endswith("ValueError: broken")]
    assert trace and all(" error " in line for line in trace)


BARS = """
import logging, os, time
from longtail.progress import ended, figures_of, progress
from longtail.command.log import speaking

log = logging.getLogger("longtail")
with speaking():
    log.info("stage 2 of 7: train", extra={"figures": {"about": "train", "stage": 2, "stages": 7}})
    for about, done in (("bpr", 100), ("bpr", 200), ("swing", 3)):
        line = progress(about, done, 400 if about == "bpr" else 3, "epochs", 10.0, note="loss 0.5")
        log.info("%s", line, extra=figures_of(line))
        time.sleep(0.3)
    os.write(2, b"somebody else\\n")
    line = ended("bpr", "stops after epoch 200")
    log.info("%s", line, extra=figures_of(line))
    log.error("it broke [default: markup]")
"""


def test_a_terminal_draws_bars_with_rate_and_time_left_and_lines_above_them():
    command = (sys.executable, "-c", BARS)
    code, drawn = at_a_terminal(cwd=Path(__file__).parents[2], columns=80, command=command)
    text = without_codes(drawn)
    assert code == 0, text
    assert "200/400 epochs, 20/s, 10 s left" in text and "━" in text and "stage 2 of 7: train" in text
    printed = re.findall(r"\d\d:\d\d:\d\d (\w.*?) *$", text, re.MULTILINE)
    printed.remove("somebody else")  # read by a thread: where it stands among ours is left open
    assert printed == [
        "stage 2 of 7: train",
        "swing: 3 of 3 epochs (100%), loss 0.5",
        "bpr: stops after epoch 200",
        "error: it broke [default: markup]",
    ]


def test_figures_that_json_has_no_word_for_are_null():
    stream = io.StringIO()
    record = logging.makeLogRecord({"msg": "x", FIGURES: {"about": "x", "loss": math.nan, "rate": 1.5}})
    Lines(stream, Form.json).emit(record)
    said = json.loads(stream.getvalue(), parse_constant=pytest.fail)
    assert said["loss"] is None and said["rate"] == 1.5


def test_a_pipe_gets_the_progress_of_a_piece_of_work_now_and_then_and_its_end(monkeypatch):
    now, stream = [0.0], io.StringIO()
    monkeypatch.setattr("longtail.command.log.time.monotonic", lambda: now[0])
    lines = Lines(stream, Form.text)
    for second in range(31):
        now[0] = float(second)
        for about in ("bpr", "swing"):
            line = progress(about, second, 30, "epochs", second)
            lines.emit(logging.makeLogRecord({"msg": line} | figures_of(line)))
    said = [line.partition("bpr: ")[2].split()[0] for line in stream.getvalue().splitlines() if "bpr" in line]
    assert said == ["10", "20", "30"] and stream.getvalue().count("swing") == 3
