"""The recommenders: those that are named are fitted, on each variant of the training set."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from longtail.recipe.section import Count, Positive, Section
from longtail.variants import TrainedVariant


class RecommenderSection(Section):
    meaning: ClassVar[int] = 1
    """The version of what a fit with equal settings gives: raised in the section of a recommender whenever that changes."""
    keeps_users: ClassVar[bool] = False
    """It ranks for a user of its training set by a vector that the fit left, not from the history that is asked with."""
    variants: list[TrainedVariant] | None = None
    """The training sets this recommender is fitted on; by default all of the recipe."""
    judge: dict[str, Any] = {}
    """What of the recipe's `judge` is otherwise for this recommender; `longtail sweep` finds it on validation."""

    def of_fit(self) -> dict[str, Any]:
        """All that a fit depends on besides its data and its seed, as JSON."""
        return self.model_dump(mode="json", exclude={"variants", "judge"}) | {"meaning": self.meaning}


class Popularity(RecommenderSection):
    pass


class ItemCF(RecommenderSection):
    neighbours: Positive = 100
    normalisation: Annotated[float, Field(ge=0, le=1)] = 0.5
    """What two items share is divided by (n_i n_j)^normalisation. Lower lets popular neighbours pass."""
    user_weight: Literal["none", "log"] = "none"
    """`log` lets a user of n items count 1 / log(1 + n)."""
    recency: Annotated[float, Field(gt=0, le=1)] = 1.0
    """A query item that lies k steps back weighs recency^k."""


class BM25(RecommenderSection):
    neighbours: Positive = 100
    recency: Annotated[float, Field(gt=0, le=1)] = 1.0


class Swing(RecommenderSection):
    alpha: Annotated[float, Field(ge=0)] = 1.0
    neighbours: Positive = 100
    user_weight: Annotated[float, Field(ge=0)] = 0.5
    """w_u = (user_offset + |I_u|)^-user_weight (papers 5.1: 0.5 is the weighted form, 0 the basic one)."""
    user_offset: Annotated[float, Field(ge=0)] = 0.0
    """Flink ML has 15, with user_weight 0.3 and alpha 0."""
    max_users: Positive | None = None
    """A sample of so many users per item; the cost grows with their square, so a log with items that a large part of
    all users took needs this."""
    max_items: Positive | None = None
    """The latest so many interactions per user."""
    recency: Annotated[float, Field(gt=0, le=1)] = 1.0


class Trained(RecommenderSection):
    dim: Positive = 64
    epochs: Positive = 100
    """At most so many; fewer where validation stops the training."""
    batch: Positive = 2048
    lr: Annotated[float, Field(gt=0)] = 1e-3
    l2: Annotated[float, Field(ge=0)] = 1e-4
    validate_every: Count = 5
    """NDCG@10 of the validation items by full ranking after every so many epochs; the best weights are kept. 0: never,
    all epochs are trained."""
    patience: Positive = 5
    """Training ends after so many validations in a row without a better one."""
    lr_drops: Count = 0
    """Before it ends, the learning rate falls to a fifth so often, each time with as much patience again."""
    preference_weight: Annotated[float, Field(ge=0)] = 1.0
    """lambda of the auxiliary loss over preferences (cold-start augmenters, 2402.11724), where there are any."""


class BPR(Trained):
    keeps_users: ClassVar[bool] = True


class LightGCN(Trained):
    keeps_users: ClassVar[bool] = True
    layers: Positive = 2


class SGL(LightGCN):
    """Self-supervised graph learning (2010.10783), edge dropout."""

    contrast_weight: Annotated[float, Field(ge=0)] = 0.1
    """lambda of the contrastive loss."""
    temperature: Annotated[float, Field(gt=0)] = 0.2
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the edges that each of the two views leaves out."""


class MixGCF(LightGCN):
    """Hard negatives mixed from several candidates, layer by layer (KDD 2021)."""

    layers: Positive = 3
    negatives: Positive = 64
    """Candidates of which each layer's negative is chosen."""


class NeuMF(Trained):
    """Generalised matrix factorisation beside a multi-layer perceptron (1708.05031)."""

    keeps_users: ClassVar[bool] = True
    dim: Positive = 32
    hidden: Annotated[list[Positive], Field(min_length=2)] = [64, 32, 16]
    """Widths of the perceptron's layers, first its input: half of it is the user's embedding, half the item's."""
    negatives: Positive = 4
    """Uniform negatives per positive."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _halves(self) -> "NeuMF":
        if self.hidden[0] % 2:
            raise ValueError(f"the first of hidden must be even, got {self.hidden[0]}")
        return self


class SASRec(Trained):
    meaning: ClassVar[int] = 2
    dim: Positive = 50
    epochs: Positive = 200
    lr_drops: Count = 1
    batch: Positive = 128
    """Users per step."""
    l2: Annotated[float, Field(ge=0)] = 0.0
    layers: Positive = 2
    heads: Positive = 1
    max_length: Positive = 50
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    loss: Literal["bce", "sampled", "full"] = "bce"
    """`bce` as published: one uniform negative per position. `sampled`: cross-entropy against `negatives` shared uniform
    ones; `full`: against the whole catalogue."""
    negatives: Positive = 256
    """Of the sampled loss."""
    engine: Literal["ddp", "deepspeed"] = "ddp"
    """`deepspeed` splits weights, gradients and optimiser state between workers (ZeRO 3), for catalogues whose
    embedding does not fit."""

    @model_validator(mode="after")
    def _heads_divide(self) -> "SASRec":
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads, got {self.dim} and {self.heads}")
        return self


class Recommenders(Section):
    """Those that are named are trained."""

    popularity: Popularity | None = None
    itemcf: ItemCF | None = None
    bm25: BM25 | None = None
    swing: Swing | None = None
    bpr: BPR | None = None
    neumf: NeuMF | None = None
    lightgcn: LightGCN | None = None
    sgl: SGL | None = None
    mixgcf: MixGCF | None = None
    sasrec: SASRec | None = None

    def chosen(self) -> dict[str, RecommenderSection]:
        return {name: section for name, section in self if section is not None}
