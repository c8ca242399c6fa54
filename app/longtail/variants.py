"""The variants that are compared. Each is declared once: the training sets, and the served variants.

A training set is the observed log with interactions or preferences added. A served variant trains nothing: it fuses the
ranking of a fitted recommender with a list. Every variant of an LLM has a control that does the same without an LLM.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from longtail.registry import strategy_spec

Kind = Literal["observed", "llm", "served", "list", "control", "served control", "list control"]
"""`observed`: the log as it is. `llm`: a training set with answers of an LLM. `served`: a fit fused with an LLM's list.
`list`: that list alone, and after it nothing. `control`, `served control`, `list control`: the same without an LLM."""
StandIn = Literal["random", "popular", "best", "judged", "sampled", "picked", "coin", "own", "users"]
"""What replaces the LLM in a control. `random`, `popular`: items drawn at random or by popularity. `best`: the best items of
a recommender. `judged`: a recommender proposes as many items as the generator, and the same judge decides. `sampled`: items
sampled from a recommender's list. `picked`: the item that a recommender picks among the same candidates. `coin`: a random
choice of the preferred item of a pair. `own`: the order of the very recommender that is evaluated. `users`: random users for
the same items."""


class Colour(NamedTuple):
    """A colour for a light page and for a dark page, as `#rrggbb`."""

    light: str
    dark: str


COLOURS = {
    "discriminated": Colour("#0063a6", "#4fb3f6"),
    "generated": Colour("#2e9bd6", "#8fd0f7"),
    "itemcf": Colour("#b35900", "#f0a04b"),
    "popular": Colour("#8a6d3b", "#cdb27c"),
    "random": Colour("#777b82", "#a3a7ae"),
    "text_order": Colour("#7a4fb5", "#b99be8"),
    "sequence": Colour("#a8325a", "#ec86a9"),
    "walk": Colour("#5c7a00", "#a9c94b"),
    "served": Colour("#1d7a46", "#5cc98a"),
}
"""The colours by name. Variants of one origin have the same colour and different marks."""


@dataclass(frozen=True)
class Variant:
    """One variant.

    says: a description in one line. sources: the strategies whose answers are used; a control adds as much as their answers
    do. control: the variant that does the same without an LLM; a control has a stand_in instead. by: the recommender that
    stands in. fitted_on: the training set of the fit, for served variants only. colour: a name of COLOURS. mark:
    Matplotlib's name of the shape. `observed` has neither, because plots show it as a line for comparison, and a list alone
    has neither, because it stands in tables only. label: the name in tables and plots, if it is different. subject: the
    beginning of the report's sentence about a served variant. hits_removed: whether every proposal that equals a held-out
    item is removed. That uses the answer key, so such a variant is only for comparison: it is never served, and it is not
    among what the page claims.
    """

    name: str
    kind: Kind
    says: str
    sources: tuple[str, ...] = ()
    control: str | None = None
    stand_in: StandIn | None = None
    by: str | None = None
    fitted_on: str | None = None
    colour: str | None = None
    mark: str | None = None
    label: str = ""
    subject: str = ""
    hits_removed: bool = False

    @property
    def by_llm(self) -> bool:
        return self.kind in ("llm", "served")

    @property
    def is_control(self) -> bool:
        return self.kind in ("control", "served control", "list control")

    @property
    def alone(self) -> bool:
        """Whether it is a list without a recommender."""
        return self.kind in ("list", "list control")

    @property
    def prefers(self) -> bool:
        """Whether it adds preferences instead of interactions."""
        return any(strategy_spec(strategy).preferring for strategy in self.sources)

    @property
    def uses_itemcf(self) -> bool:
        """Whether the recipe's ItemCF replaces the LLM, or agrees with what does."""
        return self.by == "itemcf" or self.stand_in == "judged"


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
        label="judged",
    ),
    Variant(
        "generated",
        "llm",
        "the same number of next items, chosen by the generator's own probability, without the judge",
        sources=("next_item",),
        control="itemcf",
        colour="generated",
        mark="s",
    ),
    Variant(
        "without_hits",
        "llm",
        "as discriminated, but every proposal that equals a held-out item was removed, which uses the answer key",
        sources=("next_item",),
        control="itemcf",
        colour="discriminated",
        mark="*",
        label="without hits",
        hits_removed=True,
    ),
    Variant(
        "refined",
        "llm",
        "as discriminated, but the LLM removed observed interactions that do not fit the user",
        sources=("next_item", "screening"),
        control="itemcf",
        colour="discriminated",
        mark="p",
    ),
    Variant(
        "id_list",
        "llm",
        "items from the lists that the generator wrote",
        sources=("id_list",),
        control="id_list_itemcf",
        colour="generated",
        mark="h",
        label="id lists",
    ),
    Variant(
        "insertion",
        "llm",
        "items that the generator picked among candidates, inserted at random positions in the history",
        sources=("insertion",),
        control="insertion_itemcf",
        colour="generated",
        mark="8",
        label="inserted items",
    ),
    Variant(
        "pairs",
        "llm",
        "the LLM's choice of the item that a user prefers in a pair",
        sources=("pairs",),
        control="pairs_shuffled",
        colour="generated",
        mark="<",
    ),
    Variant(
        "cold_pairs",
        "llm",
        "the LLM's choice of the item that a user prefers in a pair of cold items",
        sources=("cold_pairs",),
        control="cold_pairs_shuffled",
        colour="generated",
        mark=">",
        label="cold pairs",
    ),
    Variant(
        "cold_users",
        "llm",
        "for each cold item the users who would take it, by its text or also by the generator",
        sources=("cold_users",),
        control="cold_users_random",
        colour="generated",
        mark="H",
        label="users for cold items",
    ),
    Variant(
        "served",
        "served",
        "a recommender fitted on the observed log, fused with the LLM's list",
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
        "a recommender fitted on the discriminated log, fused with the LLM's list",
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
        "a recommender fitted on the observed log, fused with its own best items, which the LLM ranked again",
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
        "the same number of items, the best of ItemCF",
        sources=("next_item",),
        stand_in="best",
        by="itemcf",
        colour="itemcf",
        mark="D",
    ),
    Variant(
        "popular",
        "control",
        "the same number of items, drawn by their popularity",
        sources=("next_item",),
        stand_in="popular",
        colour="popular",
        mark="^",
    ),
    Variant(
        "random",
        "control",
        "the same number of items, drawn at random",
        sources=("next_item",),
        stand_in="random",
        colour="random",
        mark="v",
    ),
    Variant(
        "text_order",
        "control",
        "the same number of items, proposed by neighbours in text and order, and judged in the same way",
        sources=("next_item",),
        stand_in="judged",
        by="text_order",
        colour="text_order",
        mark="D",
        label="text and order",
    ),
    Variant(
        "sequence",
        "control",
        "the same number of items, proposed by a SASRec of another seed, and judged in the same way",
        sources=("next_item",),
        stand_in="judged",
        by="sasrec",
        colour="sequence",
        mark="D",
    ),
    Variant(
        "walk",
        "control",
        "the same number of items, proposed by random walks between users and items, and judged in the same way",
        sources=("next_item",),
        stand_in="judged",
        by="rp3beta",
        colour="walk",
        mark="D",
    ),
    Variant(
        "id_list_itemcf",
        "control",
        "the same number of items as in the generator's lists, sampled from ItemCF's list",
        sources=("id_list",),
        stand_in="sampled",
        by="itemcf",
        colour="itemcf",
        mark="h",
        label="sampled itemcf",
    ),
    Variant(
        "insertion_itemcf",
        "control",
        "the same number of items, picked by ItemCF among the same candidates and inserted in the same way",
        sources=("insertion",),
        stand_in="picked",
        by="itemcf",
        colour="itemcf",
        mark="8",
        label="inserted itemcf",
    ),
    Variant(
        "pairs_shuffled",
        "control",
        "the same pairs, but the preferred item is chosen at random",
        sources=("pairs",),
        stand_in="coin",
        colour="random",
        mark="<",
        label="shuffled pairs",
    ),
    Variant(
        "cold_pairs_shuffled",
        "control",
        "the same pairs of cold items, but the preferred item is chosen at random",
        sources=("cold_pairs",),
        stand_in="coin",
        colour="random",
        mark=">",
        label="shuffled cold",
    ),
    Variant(
        "cold_users_random",
        "control",
        "for each cold item the same number of users, drawn at random",
        sources=("cold_users",),
        stand_in="users",
        colour="random",
        mark="H",
        label="random users",
    ),
    Variant(
        "served_itemcf",
        "served control",
        "a recommender fitted on the observed log, fused with a list of ItemCF of the same length",
        sources=("next_item",),
        stand_in="best",
        by="itemcf",
        fitted_on="observed",
        colour="itemcf",
        mark="d",
        label="served itemcf",
    ),
    Variant(
        "served_text_order",
        "served control",
        "a recommender fitted on the observed log, fused with a list by text and order of the same length",
        sources=("next_item",),
        stand_in="judged",
        by="text_order",
        fitted_on="observed",
        colour="text_order",
        mark="d",
        label="served text and order",
    ),
    Variant(
        "served_sequence",
        "served control",
        "a recommender fitted on the observed log, fused with a list of a SASRec of the same length",
        sources=("next_item",),
        stand_in="judged",
        by="sasrec",
        fitted_on="observed",
        colour="sequence",
        mark="d",
        label="served sequence",
    ),
    Variant(
        "log_list_itemcf",
        "served control",
        "a recommender fitted on the itemcf log, fused with a list of ItemCF of the same length",
        sources=("next_item",),
        stand_in="best",
        by="itemcf",
        fitted_on="itemcf",
        colour="itemcf",
        mark="P",
        label="log and list of itemcf",
    ),
    Variant(
        "log_list_text_order",
        "served control",
        "a recommender fitted on the log by text and order, fused with the list by text and order",
        sources=("next_item",),
        stand_in="judged",
        by="text_order",
        fitted_on="text_order",
        colour="text_order",
        mark="P",
        label="log and list of text and order",
    ),
    Variant(
        "log_list_sequence",
        "served control",
        "a recommender fitted on the log of a SASRec, fused with the list of the same SASRec",
        sources=("next_item",),
        stand_in="judged",
        by="sasrec",
        fitted_on="sequence",
        colour="sequence",
        mark="P",
        label="log and list of sequence",
    ),
    Variant(
        "served_own",
        "served control",
        "a recommender fitted on the observed log, fused with the items of the re-ranked list in its own order",
        sources=("ranking",),
        stand_in="own",
        fitted_on="observed",
        colour="itemcf",
        mark="X",
        label="list as it was",
    ),
    Variant(
        "list",
        "list",
        "the LLM's list alone, then nothing",
        sources=("next_item",),
        control="list_itemcf",
        fitted_on="observed",
        label="list alone",
    ),
    Variant(
        "list_ranking",
        "list",
        "the recommender's best items alone, as the LLM ranked them again, then nothing",
        sources=("ranking",),
        control="list_own",
        fitted_on="observed",
        label="re-ranked alone",
    ),
    Variant(
        "list_itemcf",
        "list control",
        "a list of ItemCF of the same length alone, then nothing",
        sources=("next_item",),
        stand_in="best",
        by="itemcf",
        fitted_on="observed",
        label="itemcf alone",
    ),
    Variant(
        "list_text_order",
        "list control",
        "a list by text and order of the same length alone, then nothing",
        sources=("next_item",),
        stand_in="judged",
        by="text_order",
        fitted_on="observed",
        label="text and order alone",
    ),
    Variant(
        "list_sequence",
        "list control",
        "a list of a SASRec of the same length alone, then nothing",
        sources=("next_item",),
        stand_in="judged",
        by="sasrec",
        fitted_on="observed",
        label="sequence alone",
    ),
    Variant(
        "list_own",
        "list control",
        "the items of the re-ranked list alone in the recommender's own order, then nothing",
        sources=("ranking",),
        stand_in="own",
        fitted_on="observed",
        label="as it was, alone",
    ),
)
VARIANTS = {one.name: one for one in _DECLARED}
"""The variants by name, in the order of tables and plots."""
TrainedVariant = Literal[tuple(one.name for one in _DECLARED if one.fitted_on is None)]
"""The name of a variant of the training set, as a recipe lists it."""
LLM_VARIANTS = tuple(one.name for one in _DECLARED if one.by_llm)
LISTS = tuple(one.name for one in _DECLARED if one.kind == "list")
CONTROLS = tuple(one.name for one in _DECLARED if one.is_control)


def label(name: str) -> str:
    """The name of a variant in tables and plots."""
    return VARIANTS[name].label or name


def controls_of(name: str) -> tuple[str, ...]:
    """All controls that a variant of an LLM, or its list alone, is compared with, its own first.

    They are of its kind and of its strategy. One that puts its items in the log and fuses its list is compared with a
    variant that does both.
    """
    made = VARIANTS[name]
    own, both = VARIANTS[made.control], made.fitted_on not in (None, "observed")
    others = (one for one in _DECLARED if (one.kind, one.sources) == (own.kind, own.sources) and one != own)
    return own.name, *(one.name for one in others if both or one.fitted_on in (None, "observed"))


def stand_ins(names: Iterable[str]) -> tuple[str, ...]:
    """The recommenders that are fitted to stand in for the generator in the controls among `names`."""
    fitted = (VARIANTS[name].by for name in names if VARIANTS[name].stand_in == "judged")
    return tuple(dict.fromkeys(fitted))


def contrasts(names: Iterable[str]) -> list[tuple[str, str]]:
    """The pairs of variants that are compared: each of `names` with observed, and one that has a control also with all of
    its controls that are among `names`.
    """
    present = [name for name in names if name != "observed"]
    controlled = (name for name in present if VARIANTS[name].control)
    rivals = [(name, control) for name in controlled for control in controls_of(name) if control in present]
    return [*((name, "observed") for name in present), *rivals]
