"""The variants of an evaluation: their order, their words, and the control that each is held against.

A variant is a training set of the recipe, or (`served…`) what serving makes of a fit without training anything.
"""

from collections.abc import Iterable

from longtail.recipe import MADE

LOG_VARIANTS = tuple(variant for variant, made in MADE.items() if made.control)
"""Training sets with what an LLM wrote or said."""
SERVED_CONTROL_OF = {
    **dict.fromkeys(("served", "served_discriminated"), "served_itemcf"),
    "served_ranking": "served_own",
}
"""Fused with the LLM's list when they are served, each with its control: as long a list of ItemCF; of a list that the LLM
ranked again the same items as its recommender ranks them."""
SERVED_VARIANTS = (*SERVED_CONTROL_OF,)
LLM_VARIANTS = (*LOG_VARIANTS, *SERVED_VARIANTS)
CONTROLS = (
    *(variant for variant, made in MADE.items() if made.stand_in),
    *dict.fromkeys(SERVED_CONTROL_OF.values()),
)
"""The same amount without an LLM."""
VARIANTS = ("observed", *LLM_VARIANTS, *CONTROLS)
"""In the order of tables and plots."""
CONTROL_OF: dict[str, str] = {variant: MADE[variant].control for variant in LOG_VARIANTS} | SERVED_CONTROL_OF
"""What does as much, in the same way, without the LLM."""
LABELS = {
    "id_list": "id lists",
    "insertion": "inserted items",
    "cold_pairs": "cold pairs",
    "id_list_itemcf": "sampled itemcf",
    "insertion_itemcf": "inserted itemcf",
    "pairs_shuffled": "shuffled pairs",
    "cold_pairs_shuffled": "shuffled cold",
    "served_discriminated": "log and list",
    "served_ranking": "re-ranked list",
    "served_itemcf": "served itemcf",
    "served_own": "list as it was",
}
"""Where the name alone does not read well."""


def label(variant: str) -> str:
    return LABELS.get(variant, variant)


def controls_of(variant: str) -> tuple[str, ...]:
    """All controls that a variant of an LLM is held against, its own first."""
    control = CONTROL_OF[variant]
    return ("itemcf", "popular", "random") if control == "itemcf" else (control,)


def contrasts(variants: Iterable[str]) -> list[tuple[str, str]]:
    """What is compared with what: each of `variants` with observed, those of an LLM also with their control if present."""
    present = [variant for variant in variants if variant != "observed"]
    controlled = [(one, CONTROL_OF[one]) for one in present if CONTROL_OF.get(one) in present]
    return [*((one, "observed") for one in present), *controlled]
