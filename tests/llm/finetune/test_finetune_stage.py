"""What is up to date: examples are built anew when a setting changes that they depend on, and only then."""

from longtail.llm.finetune.finetune_stage import SHAPING
from longtail.recipe import Tuning

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
