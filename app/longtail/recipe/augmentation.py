"""How the LLMs are asked and judged: one section per strategy, the judge, and what it costs."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from longtail.recipe.section import Positive, Section, Share

ItemSlice = Literal["head", "mid", "tail", "cold"]
Slice = ItemSlice | Literal["all", "sparse", "regular", "active"]


class StrategySection(Section):
    """What all strategies have."""

    meaning: ClassVar[int] = 1
    """The version of what a strategy asks and reads with equal settings: raised in its section whenever that changes."""
    users: Positive | None = None
    """Ask about so many users, drawn by the recipe's seed; by default about all."""
    useless: Share = 0.9
    """The run stops where a larger share of the answers says nothing that can be used; the ledger is kept."""


class NextItem(StrategySection):
    """LLM-I2I (2512.21595): the items that a user would take next."""

    strategy: Literal["next_item"] = "next_item"
    proposals: Positive = 10
    """So many are judged; what else the answer names is kept as the LLM's list of this user."""
    tail_share: Share = 0.0
    """This share of a user's proposals is reserved for long-tail and cold items, and of what the judge keeps as well."""
    only: list[ItemSlice] | None = None
    """Propose items of these slices alone."""
    constrained: bool = False
    """With titles: decode under a grammar of the catalogue (vLLM's structured outputs); nothing else can be written."""


class IdList(StrategySection):
    """LLM4IDRec (2411.02041): the rest of a list of bare ids, sampled."""

    strategy: Literal["id_list"] = "id_list"
    lists: Positive = 1
    """Lists sampled for each user."""
    length: Positive = 10
    """Items of a list, at most."""
    temperature: Annotated[float, Field(gt=0)] = 0.8
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.9
    share: Annotated[float, Field(gt=0)] | None = None
    """At most this share of a user's history is added; the paper has no cap."""


class Pairs(StrategySection):
    """Llama4Rec (2401.13870), direct: which of two items does the user prefer?"""

    strategy: Literal["pairs"] = "pairs"
    pairs: Positive = 1
    """Pairs for each user; the paper does not say how many."""
    choose: Literal["random", "top"] = "random"
    """Random items (the paper), or a recommender's first two (`top`, as in the authors' sister code)."""


class ColdPairs(StrategySection):
    """Cold-start augmenters (2402.11724): which of two cold items would the user take next?"""

    strategy: Literal["cold_pairs"] = "cold_pairs"
    pairs: Positive = 5
    """Pairs for each user; the paper does not say how many."""


class Insertion(StrategySection):
    """Llama4Rec, sequential: the most likely of some items the user has not taken, put at a random place."""

    strategy: Literal["insertion"] = "insertion"
    candidates: Annotated[int, Field(ge=2)] = 10
    """Drawn for each user; the paper does not say how many."""


class Ranking(StrategySection):
    """Llama4Rec: a recommender's best items, ranked again by the LLM."""

    strategy: Literal["ranking"] = "ranking"
    recommender: Literal["itemcf", "bm25", "swing"] = "itemcf"
    """Whose best items: one that is fitted on the observed log before the LLM is asked. For any other recommender the
    list would be a stranger's, so it is fused with this one alone."""
    mode: Literal["listwise", "pointwise"] = "listwise"
    candidates: Annotated[int, Field(ge=2, le=64)] = 10
    """k'; not stated, 10 in the authors' sister code."""


class Screening(StrategySection):
    """LLM-I2I's discriminator on what was observed: which interactions of a user would it call noise?"""

    strategy: Literal["screening"] = "screening"
    latest: Positive = 50
    """So many of the latest interactions are questioned; older ones stay."""
    threshold: Share = 0.1
    """An observed interaction whose P(Yes) is lower is left out of the variant `refined`."""


Strategy = Annotated[
    NextItem | IdList | Pairs | ColdPairs | Insertion | Ranking | Screening, Field(discriminator="strategy")
]


NotNegative = Annotated[float, Field(ge=0)]
Weight = Annotated[float, Field(gt=0, le=1)]


class Judge(Section):
    """Blend of three confidences. Agreement with an independent collaborative score filters best, Yes/No alone worst."""

    likelihood: NotNegative = 0.3
    agreement: NotNegative = 0.5
    yes_no: NotNegative = 0.2
    """At 0 the discriminator is neither tuned nor asked, where nothing else needs it."""
    relative: bool = True
    """Each confidence is divided by the user's largest before it is blended."""
    tail_boost: Annotated[float, Field(gt=0)] = 1.0
    """Confidences of long-tail and cold items are multiplied by this."""
    tail_share: Share = 0.0
    """This share of what is kept is reserved for long-tail and cold items, if a user has such proposals; by default as
    large as `tail_share` of next_item."""
    threshold: Share = 0.0
    """A proposal whose blended confidence is lower is rejected."""
    keep: Positive = 5
    """At most this many proposals of a user are accepted."""
    weight: Weight = 0.3
    """Weight of a generated interaction; an observed one weighs 1."""

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if given not in PRESETS:
            raise ValueError(f"no preset {given!r}; known: {', '.join(PRESETS)}")
        return PRESETS[given]

    @model_validator(mode="after")
    def _some_weight(self) -> "Judge":
        if self.likelihood + self.agreement + self.yes_no <= 0:
            raise ValueError("at least one of likelihood, agreement and yes_no must be above 0")
        return self


PRESETS: dict[str, dict[str, Any]] = {
    "llm-i2i": {
        **{"likelihood": 0.0, "agreement": 0.0, "yes_no": 1.0, "relative": False},
        **{"threshold": 0.995, "keep": 10, "weight": 1.0},
    }
}
"""`judge: llm-i2i`: as the paper filters, a Yes whose confidence, rounded, is 1.0; full weight (papers 1.3, 1.4)."""


def _some_weight(blend: tuple[float, float, float]) -> tuple[float, float, float]:
    if sum(blend) <= 0:
        raise ValueError("at least one of likelihood, agreement and yes_no must be above 0")
    return blend


Blend = Annotated[tuple[NotNegative, NotNegative, NotNegative], AfterValidator(_some_weight)]
Values = Field(min_length=1)


class Sweep(Section):
    """The values of the judge that `longtail sweep` tries on validation; the recipe's own value is always among them."""

    slice: Slice = "all"
    """Best is what has the highest NDCG@10 on this slice of the validation items: by their own popularity, head to cold, or
    by the length of their user's history, sparse to active."""
    blend: Annotated[list[Blend], Values] = [(1, 0, 0), (0.5, 0.5, 0), (0.3, 0.7, 0), (0, 1, 0), (0, 0, 1)]
    """Weights of likelihood, agreement and yes_no."""
    keep: Annotated[list[Positive], Values] = [1, 3, 5, 10]
    weight: Annotated[list[Weight], Values] = [0.1, 0.3, 0.5, 1.0]
    tail_share: Annotated[list[Share], Values] = [0.0, 0.2, 0.4]
    threshold: Annotated[list[Share], Values] = [0.0, 0.2, 0.4, 0.6, 0.8]
    epochs: Positive | None = None
    """A trained recommender has at most so many epochs in a sweep; by default as many as the recipe gives it."""


class Price(Section):
    """What an LLM costs. Prices of tokens and of time add up; give the ones that apply."""

    prompt: Annotated[float, Field(ge=0)] = 0.0
    """Of a million prompt tokens."""
    output: Annotated[float, Field(ge=0)] = 0.0
    """Of a million written tokens."""
    hour: Annotated[float, Field(ge=0)] = 0.0
    """Of an hour of one engine."""

    def spent(self, prompt_tokens: int, output_tokens: int, seconds: float) -> float:
        """What that many tokens and engine seconds cost, in the price table's currency."""
        return (self.prompt * prompt_tokens + self.output * output_tokens) / 1e6 + self.hour * seconds / 3600


class Prices(Section):
    currency: str = "USD"
    models: dict[str, Price] = {}
    """By `llm.base`; where there are any, the recipe's own must be among them."""
