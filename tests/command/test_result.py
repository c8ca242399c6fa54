"""What a run says at its end holds the figures of its metrics.json, and commands that can be pasted."""

import shlex
from pathlib import Path
from typing import Any

from longtail.command.result import cost, following, found, whom


def row(
    recommender: str, variant: str, where: str, value: float, over: float | None = None
) -> dict[str, Any]:
    row = {
        "recommender": recommender,
        "variant": variant,
        "slice": where,
        "metric": "recall",
        "k": 10,
        "n": 140,
        "targets": 140,
    }
    row |= {"value": value, "lift": None, "ci_low": None, "ci_high": None, "pairs": None}
    row |= {"over_best": None, "p_adjusted": None}
    if variant != "observed":
        row |= {
            "ci_low": value - 0.2,
            "ci_high": value,
            "pairs": 3,
            "p_adjusted": 0.04 if over > 0.03 else 1.0,
        }
        row["over_best"] = {"base": "itemcf", "value": over, "ci_low": over - 0.01, "ci_high": over + 0.01}
    return row


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
METRICS: dict[str, Any] = {
    "recipe": {
        "evaluation": {"ks": [5, 10]},
        "variants": ["observed", "discriminated"],
        "recommenders": {"popularity": {}, "swing": {}, "bpr": {}},
        "prices": {"currency": "EUR"},
    },
    "rows": [
        row("swing", "observed", "all", 0.3),
        row("swing", "discriminated", "all", 0.29, over=-0.005),
        row("swing", "observed", "items:tail", 0.1),
        row("swing", "discriminated", "items:tail", 0.15, over=0.04),
        row("swing", "observed", "items:tail", 0.1)
        | {"variant": "without_hits", "ci_low": 0.0, "ci_high": 0.1},
        row("bpr", "observed", "items:tail", 0.1),
        row("bpr", "discriminated", "items:tail", 0.2, over=0.03),
    ],
    "choice": {"figures": FIGURES, "best": FIGURES[1], "served": FIGURES[1], "control": None, "fault": None},
    "cost": SPENT,
    "stages": {"prepare": {"seconds": 12.0, "units": 1}, "train": {"seconds": 100.0, "units": 2}},
}


def test_the_largest_difference_from_the_best_rival_is_told_with_its_interval_and_what_it_did_to_all():
    """BPR is higher, Swing is further above its rival."""
    _, tail, everybody, served = found(METRICS)
    for part in (
        "of 2 compared",
        "Swing, judged",
        "Recall@10 0.1500",
        "+0.0400 (+0.0300 to +0.0500",
        "over itemcf",
        "; sure after correction",
        "140 users",
    ):
        assert part in tail
    assert "0.2900" in everybody and "−0.0100" in everybody and "over observed" in everybody
    assert served.startswith(
        "Served, as validation chose: Swing of judged; NDCG@10 on validation 0.2000, Recall@10"
    )


def test_what_the_corrected_test_does_not_carry_is_not_sure_and_few_targets_say_nothing():
    rows = [one for one in METRICS["rows"] if one["recommender"] == "bpr"]
    everybody = [row("bpr", "observed", "all", 0.3), row("bpr", "discriminated", "all", 0.31, over=0.01)]
    _, tail, *_ = found(METRICS | {"rows": everybody + rows})
    assert "; not sure after correction" in tail
    few = [one | {"targets": 99} for one in rows]
    assert not any("long-tail" in line for line in found(METRICS | {"rows": everybody + few}))


def test_without_an_llm_the_best_recommender_is_told():
    rows = [one for one in METRICS["rows"] if one["variant"] == "observed"]
    best = FIGURES[0]
    choice = {"figures": [best], "best": best, "served": best, "control": None, "fault": None}
    headline, served = found(METRICS | {"rows": rows, "choice": choice})
    assert headline == "Swing is best on validation: Recall@10 0.3000 on the test."
    assert served.startswith("Served, as validation chose: Swing of observed;")
    choice |= {
        "figures": [best | {"users": 0, "ndcg": None}],
        "best": None,
        "served": None,
        "fault": "name one.",
    }
    headline, served = found(METRICS | {"rows": rows, "choice": choice})
    assert headline == "No user has a validation item, so no recommender is called best."
    assert served == "Nothing is served: name one."


def test_for_whom_it_was_found():
    counts = {"users": 2000, "items": 800, "interactions": 21_863}
    slices = {"users": {"sparse": 835}, "items": {"tail": 204}}
    assert whom({"dataset": counts | {"slices": slices}}) == (
        "2,000 users, 835 of them sparse; 800 items, 204 of them long-tail; 21,863 interactions."
    )


def test_cost_is_of_stages_requests_tokens_and_money_if_there_is_a_price():
    assert cost(METRICS) == "1 min 52 s: prepare 12 s, train 1 min 40 s; 2,000 requests, 32,500 tokens."
    assert cost(METRICS | {"cost": SPENT | {"money": 1.239}}).endswith(", 1.24 EUR.")
    free = METRICS | {"cost": dict.fromkeys(SPENT, 0) | {"money": None}}
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
