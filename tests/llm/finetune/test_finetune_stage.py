"""What is up to date: examples are built anew when a setting changes that they depend on, and only then."""

from pathlib import Path

from longtail.llm.finetune.finetune_stage import LATER, SHAPING, start_of, told
from longtail.recipe import LLM, Generator, Recipe, Tuning
from longtail.text.pretrained import PACKAGED

LEARNING = {
    *(
        "epochs",
        "patience",
        "batch",
        "micro_tokens",
        "lr",
        "warm_up",
        "weight_decay",
        "clip",
        "zero",
        "offload",
    ),
    *("lora", "lora_alpha", "precision", "gradient_checkpointing", "checkpoint_minutes", "checkpoint_steps"),
}


def test_every_setting_either_shapes_the_examples_or_says_how_to_learn_from_them():
    """One that is forgotten would leave old examples in place of those that the recipe asks for: so it was once."""
    assert SHAPING.isdisjoint(LEARNING)
    assert set(Tuning.model_fields) == SHAPING | LEARNING


def test_a_setting_that_came_later_is_told_only_if_it_is_not_the_default():
    for section, changed in (
        (LLM(), {"text": False}),
        (Generator(), {"user_number": True, "prior_list": False}),
    ):
        plain = section.model_dump()
        assert told(section) == {name: value for name, value in plain.items() if name not in LATER}
        assert told(section.model_copy(update=changed)) == told(section) | changed
    assert {*LLM.model_fields, *Tuning.model_fields} > LATER


def start(base: str | Path) -> dict:
    return start_of(Recipe.model_validate({"name": "t", "llm": {"base": str(base), "items": "title"}}))


def test_a_base_is_what_is_in_it_wherever_it_lies(tmp_path):
    """An LLM is not tuned again because its base was moved, and is tuned again if the base was replaced."""
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    first = start(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    assert start(moved) == first and str(tmp_path) not in str(first)
    (moved / "model.safetensors").write_bytes(b"others")
    assert start(moved) != first


def test_a_base_by_name_is_its_name_or_the_checksum_of_its_package():
    assert start("small")["base"] == "small" and start("some/model")["base"] == "some/model"
    assert start("smollm2")["base"] == PACKAGED["smollm2"].sha256
