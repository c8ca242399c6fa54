"""The cost of a run: the seconds of every stage, at the price of an hour."""

import pytest

from longtail.evaluation.run_cost import run_cost, stage_seconds
from longtail.recipe import Prices

UNITS = {
    "data": 6.0,
    "llm/generator": 600.0,
    "seed-1/llm/generator": 300.0,
    "augmentation/next_item": 240.0,
    "tuning/bpr": 60.0,
    "sweep/swing": 30.0,
    "final/recommenders/observed/bpr-0": 1000.0,
    "evaluation/observed/bpr-0": 4.0,
    "report": 50.0,
    "reports/1": 50.0,
}
MANIFESTS = {place: {"seconds": seconds} for place, seconds in UNITS.items()}


def test_every_stage_counts_with_the_search_and_the_tuning_and_no_report():
    stages = stage_seconds(MANIFESTS)
    assert list(stages) == ["prepare", "finetune", "augment", "tune", "sweep", "train", "evaluate"]
    assert stages["finetune"] == {"seconds": 900.0, "units": 2}
    spent = run_cost(stages, Prices(hour=3.6), None)
    assert spent["seconds"] == 2240.0 and spent["money"] == pytest.approx(2.24)
    assert spent["parts"] == {"tuning the LLM": 900.0, "asking the LLM": 240.0, "searching settings": 90.0}


def test_answers_with_a_price_of_their_own_come_on_top_and_an_hour_has_a_price_by_default():
    stages = stage_seconds({"data": {"seconds": 3600.0}})
    assert run_cost(stages, Prices(hour=2), 0.5)["money"] == 2.5
    assert run_cost(stages, Prices(hour=0), None)["money"] == 0
    assert run_cost(stages, Prices(), None)["money"] > 0
