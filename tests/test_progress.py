"""How far work is: shares, rates and times left are right, and figures go with a line through a process's end."""

import pickle

import pytest

from longtail.progress import called, duration, progress


def test_a_line_carries_its_figures_to_another_process():
    line = pickle.loads(pickle.dumps(progress("bpr", 3, 10, "epochs", 6.0, loss=0.5)))
    assert line == "bpr: 3 of 10 epochs (30%), 2.0 s each, 14 s left"
    assert line.figures == {
        "about": "bpr", "done": 3, "total": 10, "unit": "epochs", "per_second": 0.5, "seconds_left": 14.0, "loss": 0.5,
    }  # fmt: skip


def test_speed_is_of_what_was_done_since():
    figures = progress("llm", 60, 100, "steps", 5.0, since=50).figures
    assert figures["per_second"] == pytest.approx(2) and figures["seconds_left"] == pytest.approx(20)


def test_nothing_done_says_no_speed_and_the_end_no_time_left():
    assert progress("llm", 0, 100, "steps", 5.0) == "llm: 0 of 100 steps (0%)"
    assert progress("llm", 50, 100, "steps", 0.0, since=50).figures["seconds_left"] is None
    assert progress("llm", 100, 100, "steps", 5.0, note="loss 1") == "llm: 100 of 100 steps (100%), loss 1"


def test_work_that_may_end_earlier_says_so():
    assert "at most 1 min 30 s left" in progress("bpr", 1, 10, "epochs", 10.0, at_most=True)


def test_a_name_is_put_in_place_of_another():
    line = called(progress("bpr", 1, 1, "epochs", 1.0), "observed/bpr-0")
    assert line.startswith("observed/bpr-0: 1 of 1") and line.figures["about"] == "observed/bpr-0"
    assert called("swing: 3 users dropped", "observed/swing-0") == "observed/swing-0: 3 users dropped"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (3725, "1 h 02 min"), (200_000, "2 d 7 h")],
)
def test_durations_are_said_as_a_person_does(seconds: float, said: str):
    assert duration(seconds) == said
