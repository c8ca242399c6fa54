"""The whole recipe of a run."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from app.recipe.augmentation import Judge, NextItem
from app.recipe.dataset import Dataset
from app.recipe.llm import LLM, Discriminator, Generator
from app.recipe.recommenders import VARIANTS, ItemCF, Recommenders, Swing, Variant
from app.recipe.section import Count, Positive, Section, Share
from app.recipe.tuning import Tune


class Evaluation(Section):
    seeds: Positive = 1
    """Trained recommenders are fitted this often; the interval averages over the seeds."""
    ks: list[Positive] = [3, 5, 10, 20, 50]
    bootstrap: Positive = 1000
    sampled_negatives: Count = 0
    """Besides full ranking, rank every target among so many random items; only to compare with tables made that way."""
    after_validation: bool = False
    """At the test, ask with the validation item as the latest of the history, as SASRec's authors do."""


class Serving(Section):
    """Llama4Rec's aggregator, papers 2.4."""

    recommender: str = "swing"
    variant: Variant = "discriminated"
    alpha_1: Share = 0.5
    alpha_2: Share = 0.3
    candidates: Positive = 50
    """k': how many of the recommender's items are ranked again."""


class Resources(Section):
    accelerator: Literal["cpu", "gpu"] = "cpu"
    pool: tuple[Positive, Positive] = (1, 1)
    """Smallest and largest number of vLLM engines of one pool."""
    llm_workers: Positive = 2
    """Ray Train workers that tune an LLM."""
    workers: Positive = 1
    """Ray Train workers that train one recommender."""
    parallel: Positive = 2
    """Recommenders trained at the same time."""

    @model_validator(mode="after")
    def _ordered(self) -> "Resources":
        if self.pool[0] > self.pool[1]:
            raise ValueError(f"pool is [smallest, largest], got {list(self.pool)}")
        return self


class Recipe(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    seed: Count = 7
    dataset: Dataset = Dataset()
    llm: LLM = LLM()
    generator: Generator = Generator()
    discriminator: Discriminator = Discriminator()
    augment: Annotated[list[NextItem], Field(min_length=1, max_length=1)] = [NextItem()]
    judge: Judge = Judge()
    variants: list[Variant] = list(VARIANTS)
    recommenders: Recommenders = Recommenders(itemcf=ItemCF(), swing=Swing())
    tune: Tune = Tune()
    evaluation: Evaluation = Evaluation()
    serving: Serving = Serving()
    resources: Resources = Resources()

    @property
    def augmented(self) -> bool:
        """Whether some variant needs what the LLMs write; the controls add as many interactions as they do."""
        return set(self.variants) != {"observed"}

    @model_validator(mode="after")
    def _whole(self) -> "Recipe":
        if "observed" not in self.variants:
            raise ValueError("variants must contain 'observed': every lift is measured against it")
        if "hard" in self.generator.negatives:
            raise ValueError(
                "generator.negatives: 'hard' are the tuned generator's misses, for the discriminator only"
            )
        if "hard" in self.discriminator.negatives and self.llm.items != "token":
            raise ValueError("discriminator.negatives: 'hard' needs llm.items: token")
        if self.llm.base == "small" and self.generator.lora:
            raise ValueError(
                "generator.lora needs a pretrained llm.base; 'small' is trained from scratch, set it to 0"
            )
        for name, section in self.recommenders.chosen().items():
            missing = set(section.variants or []) - set(self.variants)
            if missing:
                raise ValueError(
                    f"recommenders.{name}.variants names {sorted(missing)}, which variants does not have"
                )
            if section.variants is not None and "observed" not in section.variants:
                raise ValueError(f"recommenders.{name}.variants must contain 'observed'")
        return self
