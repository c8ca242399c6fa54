"""What is up to date: examples are built anew when a setting changes that they depend on, and only then."""

from longtail.llm.finetune.finetune_stage import LATER, SHAPING, told
from longtail.recipe import LLM, Generator, Tuning

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
