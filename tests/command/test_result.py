"""What a run says at its end holds the figures of its metrics.json, and commands that can be pasted."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from longtail.command.result import cost, following, show_result, whom
from longtail.workspace import Workspace


def figure(recommender: str, variant: str, ndcg: float) -> dict[str, Any]:
    """Its share of `choice`, as the report writes it."""
    figure = {
        "recommender": recommender,
        "variant": variant,
        "trained_on": variant,
        "seed_index": 0,
        "ndcg": ndcg,
    }
    return figure | {"control": False, "list": None, "users": 40}


FIGURES = [figure("swing", "observed", 0.1), figure("swing", "discriminated", 0.2)]
SPENT = {"requests": 2000, "prompt_tokens": 30_000, "output_tokens": 2000, "judge_tokens": 500, "money": None}
ADVISED = {"recommender": "swing", "variant": "discriminated", "trained_on": "discriminated", "list": "none"}
METRICS: dict[str, Any] = {
    "recipe": {
        "evaluation": {"ks": [5, 10]},
        "variants": ["observed", "discriminated"],
        "recommenders": {"popularity": {}, "swing": {}, "bpr": {}},
        "prices": {"currency": "EUR"},
    },
    "choice": {"figures": FIGURES, "best": FIGURES[1], "served": FIGURES[1], "control": None, "fault": None},
    "cost": SPENT,
    "spent": {"money": 1.239},
    "verdict": {"sentences": ["Serve Swing: it is best.", "It took a minute."], "serve": ADVISED},
    "stages": {"prepare": {"seconds": 12.0, "units": 1}, "train": {"seconds": 100.0, "units": 2}},
}


def test_the_verdict_ends_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ws = Workspace(str(tmp_path))
    counts = {
        "users": 9,
        "items": 8,
        "interactions": 70,
        "slices": {"users": {"sparse": 3}, "items": {"tail": 2}},
    }
    (ws / "report/metrics.json").write_json(METRICS | {"dataset": counts})
    show_result(ws, Path("mine.yaml"), None)
    printed = capsys.readouterr().out.rstrip()
    assert printed.endswith("\n".join(["Found Serve Swing: it is best.", "      It took a minute."]))
    assert printed.startswith("For   9 users")


def test_for_whom_it_was_found():
    counts = {"users": 2000, "items": 800, "interactions": 21_863}
    slices = {"users": {"sparse": 835}, "items": {"tail": 204}}
    assert whom({"dataset": counts | {"slices": slices}}) == (
        "2,000 users, 835 of them sparse; 800 items, 204 of them long-tail; 21,863 interactions."
    )


def test_cost_is_of_stages_requests_tokens_and_money_if_it_has_a_price():
    assert (
        cost(METRICS)
        == "1 min 52 s: prepare 12 s, train 1 min 40 s; 2,000 requests, 32,500 tokens; about 1.24 EUR."
    )
    free = METRICS | {"cost": dict.fromkeys(SPENT, 0), "spent": {"money": 0.0}}
    assert cost(free) == "1 min 52 s: prepare 12 s, train 1 min 40 s."


def test_what_to_do_next_can_be_pasted_and_is_what_the_recipe_allows():
    recipe, workspace = Path("my recipes/mine.yaml"), "runs/it's"
    commands = [shlex.split(line.partition("     (")[0]) for line in following(METRICS, recipe, workspace)]
    where = [str(recipe), "--workspace", workspace]
    assert [command[:2] for command in commands] == [
        ["longtail", name] for name in ("serve", "sweep", "tune")
    ]
    assert all(command[2:5] == where for command in commands)
    assert commands[1][5:] == commands[2][5:] == ["--recommender", "swing"]
    unserved = METRICS | {"choice": METRICS["choice"] | {"served": None}}
    assert not [line for line in following(unserved, recipe, None) if "serve" in line]
    plain = METRICS | {"recipe": METRICS["recipe"] | {"variants": ["observed"]}}
    assert not [line for line in following(plain, recipe, None) if "sweep" in line or "--workspace" in line]


def test_what_is_advised_is_served_also_if_validation_would_serve_something_else():
    plain = {"recommender": "bpr", "variant": "observed", "trained_on": "observed", "list": "none"}
    other = METRICS | {"verdict": METRICS["verdict"] | {"serve": plain}}
    (serve,) = [line for line in following(other, Path("mine.yaml"), None) if " serve " in line]
    wanted = "longtail serve mine.yaml --set serving.recommender=bpr --set serving.variant=observed --set"
    assert serve.startswith(f"{wanted} serving.list=none ")
    (serve,) = [line for line in following(METRICS, Path("mine.yaml"), None) if " serve " in line]
    assert "--set" not in serve
