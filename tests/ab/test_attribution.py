"""From the lines of a log to outcomes by user, and the command over them."""

import json
from collections import defaultdict
from pathlib import Path

import pyarrow.fs as pafs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from longtail.ab.attribution import find_log, outcomes
from longtail.cli import main
from longtail.errors import InputError
from longtail.event_log.arms_record import latest_arms, write_arms
from longtail.event_log.log_writer import AppendedFile
from longtail.event_log.records import INTERACTIONS, RECOMMENDATIONS, line
from longtail.workspace.place import Place
from tests.event_log.test_log_writer import HOUR

Rec = tuple[str, str | None, str, list[str]]
Ev = tuple[str | None, str, str]


@pytest.fixture
def log(tmp_path: Path) -> Place:
    return Place(pafs.LocalFileSystem(), str(tmp_path / "events"))


def write(
    log: Place, recommendations: list[Rec], events: list[Ev], later: int = 1, writer: str = "aaaaaaaa"
) -> None:
    """recommendations: id, user, arm, items; events: quoted id, item, kind. later: ns after the arms were written."""
    now = latest_arms(log).since + later
    served = AppendedFile(log / RECOMMENDATIONS, writer, clock=lambda: now)
    told = AppendedFile(log / INTERACTIONS, writer, clock=lambda: now)
    for one, user, arm, items in recommendations:
        about = {"recommendation_id": one, "time": now, "user_id": user, "arm": arm, "items": items}
        served.append(line(about | {"model_version": "v"}))
    for number, (quoted, item, kind) in enumerate(events):
        about = {"event_id": f"e{number}", "received": now, "time": now, "user_id": "u", "item_id": item}
        told.append(line(about | {"kind": kind, "weight": None, "recommendation_id": quoted}))


def rows(log: Place, kinds: list[str] | None = None) -> list[tuple]:
    return outcomes(log, kinds).users.select("arm", "user_id", "recommendations", "successful").rows()


ARMS = {"a": 0.5, "b": 0.5}


def test_an_event_must_quote_the_recommendation_and_name_one_of_its_items(log: Place) -> None:
    write_arms(log, ARMS, "", {})
    write(
        log,
        [
            ("r1", "u", "a", ["i", "j"]),
            ("r2", "u", "a", ["i"]),
            ("r3", "v", "b", ["k"]),
            ("r4", "w", "b", ["i"]),
        ],
        [("r1", "j", "buy"), ("r1", "i", "buy"), ("r2", "k", "buy"), (None, "k", "buy"), ("r4", "i", "view")],
    )
    assert rows(log) == [("a", "u", 2, 1), ("b", "v", 1, 0), ("b", "w", 1, 1)]
    assert rows(log, ["buy"]) == [("a", "u", 2, 1), ("b", "v", 1, 0), ("b", "w", 1, 0)]


def test_who_was_in_two_arms_or_has_no_id_is_left_out_and_counted(log: Place) -> None:
    write_arms(log, ARMS, "", {})
    write(
        log,
        [("r1", "u", "a", ["i"]), ("r2", "u", "b", ["i"]), ("r3", "v", "b", ["i"]), ("r4", None, "a", [])],
        [],
    )
    found = outcomes(log)
    assert rows(log) == [("b", "v", 1, 0)] and (found.moved, found.without) == (1, 1)


def test_only_the_latest_test_counts(log: Place) -> None:
    write_arms(log, ARMS, "", {})
    write(log, [("r1", "u", "a", ["i"]), ("r2", "v", "b", ["i"])], [])
    write_arms(log, ARMS, "another salt", {})
    write(log, [("r3", "w", "a", ["i"])], [("r3", "i", "buy"), ("r1", "i", "buy")], writer="bbbbbbbb")
    assert rows(log) == [("a", "w", 1, 1)]


def test_arms_that_come_back_begin_a_new_test(log: Place) -> None:
    for salt in ("x", "x", "y", "x"):
        write_arms(log, ARMS, salt, {})
    assert [file.name[-5:] for file in (log / "arms").files()] == [".json"] * 3
    assert latest_arms(log).since == int(max(file.name for file in (log / "arms").files())[:20])


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("uvwx"), st.sampled_from("ab"), st.lists(st.sampled_from("ijk"), max_size=3)
        ),
        max_size=12,
    ),
    st.lists(st.tuples(st.integers(0, 14), st.sampled_from("ijk")), max_size=12),
    st.integers(1, 12),
)
def test_against_a_plain_twin(
    tmp_path_factory: pytest.TempPathFactory, served: list, told: list, cut: int
) -> None:
    """Recommendations in two files, events in another hour."""
    log = Place(pafs.LocalFileSystem(), str(tmp_path_factory.mktemp("events")))
    write_arms(log, ARMS, "", {})
    recommendations = [(f"r{number}", user, arm, items) for number, (user, arm, items) in enumerate(served)]
    write(log, recommendations[:cut], [])
    write(log, recommendations[cut:], [], later=2, writer="bbbbbbbb")
    write(log, [], [(f"r{number}", item, "buy") for number, item in told], later=HOUR, writer="cccccccc")
    arms_of, counts = defaultdict(set), defaultdict(lambda: [0, 0])
    for number, (user, arm, items) in enumerate(served):
        arms_of[user].add(arm)
        counts[arm, user][0] += 1
        counts[arm, user][1] += any(number == quoted and item in items for quoted, item in told)
    expected = [(*key, *count) for key, count in sorted(counts.items()) if len(arms_of[key[1]]) == 1]
    assert rows(log) == expected


def test_a_workspace_stands_for_its_log_and_nothing_for_none(log: Place, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no event log"):
        find_log(str(tmp_path))
    (log / RECOMMENDATIONS).make_folder()
    assert str(find_log(str(tmp_path))) == str(find_log(str(log))) == str(log)
    with pytest.raises(InputError, match=r"Set serving\.arms"):
        outcomes(log)


def test_the_command_says_it_in_words_and_as_json(log: Place, tmp_path: Path) -> None:
    write_arms(log, ARMS, "", {})
    write(log, [("r1", "u", "a", ["i"]), ("r2", "v", "b", ["i"])], [("r1", "i", "buy")])
    words = CliRunner().invoke(main, ["ab", str(tmp_path)])
    assert words.exit_code == 0 and "b: too early for a verdict" in words.stdout
    told = CliRunner().invoke(
        main, ["ab", str(tmp_path), "--json", "--of", "recommendations", "--smallest", "0.5"]
    )
    found = json.loads(told.stdout)
    assert (found["of"], found["smallest"]) == ("recommendations", 0.5)
    assert found["baseline"]["arm"] == "a" and found["compared"][0]["verdict"] == "too early"
    assert CliRunner().invoke(main, ["ab", str(tmp_path / "none")]).exit_code == 2
