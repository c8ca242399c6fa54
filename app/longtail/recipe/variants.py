"""The variants of the training set: what each is made of, and what it is held against."""

from dataclasses import dataclass
from typing import Literal

Variant = Literal[
    "observed",
    "generated",
    "discriminated",
    "refined",
    "id_list",
    "insertion",
    "pairs",
    "cold_pairs",
    "random",
    "popular",
    "itemcf",
    "id_list_itemcf",
    "insertion_itemcf",
    "pairs_shuffled",
    "cold_pairs_shuffled",
]
StandIn = Literal["random", "popular", "best", "sampled", "picked", "coin"]
"""What takes the LLM's place in a control: draws at random or by popularity; ItemCF's best items, items sampled from its
list, its pick of the same candidates; a coin that says which of two items is preferred."""


@dataclass(frozen=True)
class Made:
    """How a variant is made. sources: the strategies whose answers it is made of, or whose amount it copies.

    control: the variant that does the same without an LLM; a control itself has a stand_in instead.
    """

    sources: tuple[str, ...] = ()
    control: Variant | None = None
    stand_in: StandIn | None = None


MADE: dict[Variant, Made] = {
    "observed": Made(),
    "discriminated": Made(("next_item",), "itemcf"),  # after the judge
    "generated": Made(("next_item",), "itemcf"),  # before the judge
    "refined": Made(("next_item", "screening"), "itemcf"),  # the latter on a screened log
    "id_list": Made(("id_list",), "id_list_itemcf"),
    "insertion": Made(("insertion",), "insertion_itemcf"),
    "pairs": Made(("pairs",), "pairs_shuffled"),
    "cold_pairs": Made(("cold_pairs",), "cold_pairs_shuffled"),
    "itemcf": Made(("next_item",), stand_in="best"),
    "popular": Made(("next_item",), stand_in="popular"),
    "random": Made(("next_item",), stand_in="random"),
    "id_list_itemcf": Made(("id_list",), stand_in="sampled"),
    "insertion_itemcf": Made(("insertion",), stand_in="picked"),
    "pairs_shuffled": Made(("pairs",), stand_in="coin"),
    "cold_pairs_shuffled": Made(("cold_pairs",), stand_in="coin"),
}
"""In the order of tables and plots."""
SOURCES: dict[Variant, tuple[str, ...]] = {name: made.sources for name, made in MADE.items()}
VARIANTS: tuple[Variant, ...] = ("observed", "generated", "discriminated", "random", "popular", "itemcf")
"""By default."""
