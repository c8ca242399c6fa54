"""With 0 epochs an LLM is asked as it is: its weights are the base's, and nothing claims a tuning."""

import pytest
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from longtail.data import prepare
from longtail.llm.finetune.finetune_stage import finetune
from longtail.report.llm_words import read_llm
from longtail.rounds import rounds
from longtail.workspace import Workspace, read_manifest
from tests.llm.bases import recipe_of


def recipe(folder: object, **changes: object):
    sections = {
        "dataset": {"simulation": {"users": 60, "items": 40}},
        "generator": {"epochs": 0, "lora": 4, "context": 200},
        "discriminator": {"epochs": 0, "context": 200, "tasks": {"preference": 1.0}},
        "augment": [{"strategy": "pairs"}],
        "variants": ["observed", "pairs"],
        "recommenders": {"bpr": {}},
        "evaluation": {"retune": True},
    }
    return recipe_of(folder, **{"items": "title"} | sections | changes)


def test_both_llms_are_the_base(ray_here, base, tmp_path):
    asked, ws = recipe(base()), Workspace(str(tmp_path / "run"))
    for _ in range(2):
        prepare(asked, ws)
        finetune(asked, ws)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "base").state_dict()
    places = [round_.llm(role) for round_ in rounds(asked) for role in asked.roles]
    assert len(places) == 2 * len(asked.roles), "also in the round that is tuned again"
    for place in places:
        ours = AutoModelForCausalLM.from_pretrained(f"{ws}/{place}").state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        counts = read_manifest(ws / place)["counts"]
        assert counts["steps"] == counts["tokens"] == 0
        card = (ws / place / "README.md").read_bytes().decode()
        assert "not tuned" in card and "training loss" not in card and "adapter/" not in card
    told = read_llm(ws / "llm/discriminator")
    assert told["tuning"] is None and told["curve"] is None and told["worth"]["preference"]["n"] > 0


@pytest.mark.parametrize("changes", [{"items": "token"}, {"base": "small"}])
def test_an_llm_that_knows_no_items_must_be_tuned(base, changes):
    with pytest.raises(ValidationError, match=r"generator.epochs = 0 .* llm.items: title"):
        recipe(changes.get("base", base()), items=changes.get("items", "title"))
