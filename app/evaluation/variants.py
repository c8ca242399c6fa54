"""The variants of an evaluation: their order, their words, and the control that each is held against.

A variant is a training set of the recipe, or (`served…`) what serving makes of a fit without training anything.
"""

from collections.abc import Iterable

LOG_VARIANTS = ("discriminated", "generated", "refined", "id_list", "insertion", "pairs", "cold_pairs")
"""Training sets with what an LLM wrote or said."""
SERVED_VARIANTS = ("served", "served_discriminated", "served_ranking")
"""Fused with the LLM's list when they are served."""
LLM_VARIANTS = (*LOG_VARIANTS, *SERVED_VARIANTS)
CONTROLS = ("itemcf", "popular", "random", "shuffled", "served_itemcf")
"""The same amount without an LLM."""
VARIANTS = ("observed", *LLM_VARIANTS, *CONTROLS)
"""In the order of tables and plots."""
CONTROL_OF = {
    **dict.fromkeys(("discriminated", "generated", "refined"), "itemcf"),
    **dict.fromkeys(("pairs", "cold_pairs"), "shuffled"),
    **dict.fromkeys(SERVED_VARIANTS, "served_itemcf"),
}
"""The nearest control: as many items by ItemCF in the log, as long a list of it at serving, pairs in any order."""
LABELS = {
    "id_list": "id lists",
    "insertion": "inserted items",
    "cold_pairs": "cold pairs",
    "shuffled": "shuffled pairs",
    "served_discriminated": "log and list",
    "served_ranking": "re-ranked list",
    "served_itemcf": "served itemcf",
}
"""Where the name alone does not read well."""


def label(variant: str) -> str:
    return LABELS.get(variant, variant)


def controls_of(variant: str) -> tuple[str, ...]:
    """All controls that a variant of an LLM is held against."""
    control = CONTROL_OF.get(variant)
    return (control,) if control in ("shuffled", "served_itemcf") else ("itemcf", "popular", "random")


def contrasts(variants: Iterable[str]) -> list[tuple[str, str]]:
    """What is compared with what: each of `variants` with observed, those of an LLM also with their control if present."""
    present = [variant for variant in variants if variant != "observed"]
    controlled = [(one, CONTROL_OF[one]) for one in present if CONTROL_OF.get(one) in present]
    return [*((one, "observed") for one in present), *controlled]
