"""The variants that are compared, each declared once: the training sets, and what serving makes of a fit.

A training set is the observed log and what is added to it. A served variant trains nothing: when a fitted recommender is
asked, its ranking is fused with a list. Every variant of an LLM has a control that does as much without an LLM.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from longtail.registry import strategy_spec

Kind = Literal["observed", "llm", "served", "control", "served control"]
"""`llm`: a training set with what an LLM wrote or said; `served`: a fit fused with an LLM's list; their controls."""
StandIn = Literal["random", "popular", "best", "sampled", "picked", "coin", "own"]
"""What takes the LLM's place in a control: draws at random or by popularity; ItemCF's best items, items sampled from its
list, its pick of the same candidates; a coin that says which of two items is preferred; the recommender's own order."""
BY_ITEMCF = ("best", "sampled", "picked")
"""The stand-ins that are ItemCF."""


class Colour(NamedTuple):
    """On a light and on a dark page, as `#rrggbb`."""

    light: str
    dark: str


COLOURS = {
    "discriminated": Colour("#0063a6", "#4fb3f6"),
    "generated": Colour("#2e9bd6", "#8fd0f7"),
    "itemcf": Colour("#b35900", "#f0a04b"),
    "popular": Colour("#8a6d3b", "#cdb27c"),
    "random": Colour("#777b82", "#a3a7ae"),
    "served": Colour("#1d7a46", "#5cc98a"),
}
"""By name. Variants of one origin share a colour and differ by their mark."""


@dataclass(frozen=True)
class Variant:
    """One variant.

    says: what it is, one line for people. sources: the strategies whose answers it is made of, or whose amount it copies.
    control: the variant that does the same without an LLM; a control itself has a stand_in instead. fitted_on: of a served
    variant the training set of the fit. colour: of COLOURS, mark: Matplotlib's name of the shape; `observed` is the line
    that the others are drawn against, and has neither. label: in tables and plots, if the name does not read well.
    subject: how the report's sentence about a served variant begins.
    """

    name: str
    kind: Kind
    says: str
    sources: tuple[str, ...] = ()
    control: str | None = None
    stand_in: StandIn | None = None
    fitted_on: str | None = None
    colour: str | None = None
    mark: str | None = None
    label: str = ""
    subject: str = ""

    @property
    def by_llm(self) -> bool:
        return self.kind in ("llm", "served")

    @property
    def is_control(self) -> bool:
        return self.kind in ("control", "served control")

    @property
    def prefers(self) -> bool:
        """Whether it adds preferences and no interactions."""
        return any(strategy_spec(strategy).preferring for strategy in self.sources)

    @property
    def by_itemcf(self) -> bool:
        """Whether ItemCF stands in for the LLM."""
        return self.stand_in in BY_ITEMCF


_DECLARED = (
    Variant("observed", "observed", "the log as it is"),
    Variant(
        "discriminated",
        "llm",
        "next items that the generator wrote and the judge accepted",
        sources=("next_item",),
        control="itemcf",
        colour="discriminated",
        mark="o",
    ),
    Variant(
        "generated",
        "llm",
        "as many next items, by the generator's own probability, without the judge",
        sources=("next_item",),
        control="itemcf",
        colour="generated",
        mark="s",
    ),
    Variant(
        "refined",
        "llm",
        "as discriminated, on a log from which the LLM screened out what does not fit",
        sources=("next_item", "screening"),
        control="itemcf",
        colour="discriminated",
        mark="p",
    ),
    Variant(
        "id_list",
        "llm",
        "items of the lists that the generator wrote",
        sources=("id_list",),
        control="id_list_itemcf",
        colour="generated",
        mark="h",
        label="id lists",
    ),
    Variant(
        "insertion",
        "llm",
        "items that the generator picked among candidates, at random places in the history",
        sources=("insertion",),
        control="insertion_itemcf",
        colour="generated",
        mark="8",
        label="inserted items",
    ),
    Variant(
        "pairs",
        "llm",
        "the LLM's word on which of two items a user prefers",
        sources=("pairs",),
        control="pairs_shuffled",
        colour="generated",
        mark="<",
    ),
    Variant(
        "cold_pairs",
        "llm",
        "the LLM's word on which of two cold items a user prefers",
        sources=("cold_pairs",),
        control="cold_pairs_shuffled",
        colour="generated",
        mark=">",
        label="cold pairs",
    ),
    Variant(
        "served",
        "served",
        "a recommender of the observed log, fused with the LLM's list",
        sources=("next_item",),
        control="served_itemcf",
        fitted_on="observed",
        colour="served",
        mark="o",
        subject="Fused at serving with the recommender of the observed log, the LLM's list",
    ),
    Variant(
        "served_discriminated",
        "served",
        "a recommender of the discriminated log, fused with the LLM's list",
        sources=("next_item",),
        control="served_itemcf",
        fitted_on="discriminated",
        colour="served",
        mark="P",
        label="log and list",
        subject="In the log and at serving, the LLM's list",
    ),
    Variant(
        "served_ranking",
        "served",
        "a recommender of the observed log, fused with its own best items as the LLM ranked them again",
        sources=("ranking",),
        control="served_own",
        fitted_on="observed",
        colour="served",
        mark="X",
        label="re-ranked list",
        subject="As the LLM ranks them again, the recommender's own candidates",
    ),
    Variant(
        "itemcf",
        "control",
        "as many of ItemCF's best items",
        sources=("next_item",),
        stand_in="best",
        colour="itemcf",
        mark="D",
    ),
    Variant(
        "popular",
        "control",
        "as many items, drawn by their popularity",
        sources=("next_item",),
        stand_in="popular",
        colour="popular",
        mark="^",
    ),
    Variant(
        "random",
        "control",
        "as many items, drawn at random",
        sources=("next_item",),
        stand_in="random",
        colour="random",
        mark="v",
    ),
    Variant(
        "id_list_itemcf",
        "control",
        "as many items as the written lists have, sampled from ItemCF's list",
        sources=("id_list",),
        stand_in="sampled",
        colour="itemcf",
        mark="h",
        label="sampled itemcf",
    ),
    Variant(
        "insertion_itemcf",
        "control",
        "as many items, picked by ItemCF among the same candidates and inserted in the same way",
        sources=("insertion",),
        stand_in="picked",
        colour="itemcf",
        mark="8",
        label="inserted itemcf",
    ),
    Variant(
        "pairs_shuffled",
        "control",
        "the same pairs, a coin says which item is preferred",
        sources=("pairs",),
        stand_in="coin",
        colour="random",
        mark="<",
        label="shuffled pairs",
    ),
    Variant(
        "cold_pairs_shuffled",
        "control",
        "the same pairs of cold items, a coin says which item is preferred",
        sources=("cold_pairs",),
        stand_in="coin",
        colour="random",
        mark=">",
        label="shuffled cold",
    ),
    Variant(
        "served_itemcf",
        "served control",
        "a recommender of the observed log, fused with as long a list of ItemCF",
        sources=("next_item",),
        stand_in="best",
        fitted_on="observed",
        colour="itemcf",
        mark="d",
        label="served itemcf",
    ),
    Variant(
        "served_own",
        "served control",
        "a recommender of the observed log, fused with the items of the re-ranked list in its own order",
        sources=("ranking",),
        stand_in="own",
        fitted_on="observed",
        colour="itemcf",
        mark="X",
        label="list as it was",
    ),
)
VARIANTS = {one.name: one for one in _DECLARED}
"""By name, in the order of tables and plots."""
TrainedVariant = Literal[tuple(one.name for one in _DECLARED if one.fitted_on is None)]
"""The name of a training set, as a recipe may list it."""
LLM_VARIANTS = tuple(one.name for one in _DECLARED if one.by_llm)
CONTROLS = tuple(one.name for one in _DECLARED if one.is_control)


def label(name: str) -> str:
    """What tables and plots call a variant."""
    return VARIANTS[name].label or name


def controls_of(name: str) -> tuple[str, ...]:
    """All controls that a variant of an LLM is held against, its own first."""
    own = VARIANTS[VARIANTS[name].control]
    others = (one for one in _DECLARED if (one.kind, one.sources) == (own.kind, own.sources) and one != own)
    return own.name, *(one.name for one in others)


def contrasts(names: Iterable[str]) -> list[tuple[str, str]]:
    """What is compared with what: each of `names` with observed, those of an LLM also with their control if present."""
    present = [name for name in names if name != "observed"]
    controlled = [(name, VARIANTS[name].control) for name in present if VARIANTS[name].control in present]
    return [*((name, "observed") for name in present), *controlled]
