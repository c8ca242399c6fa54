"""Strategy screening: which of a user's observed interactions would the discriminator call noise?

According to its abstract, LLM-I2I (2512.21595) filters observed interactions as well as generated ones. The variant
`refined` leaves out the interactions that are rejected here.
"""

from typing import Literal

import numpy as np
import pyarrow as pa

from longtail.augment.proposals import Proposals
from longtail.augment.strategies.candidates import questioned
from longtail.augment.strategies.spec import StrategySpec, Tools
from longtail.augment.strategies.strategy import Asked, Rng
from longtail.llm.vllm_pool import Sampling
from longtail.recipe import Judge, Positive, Share, StrategySection


class ScreeningSection(StrategySection):
    """LLM-I2I's discriminator on observed interactions: which ones of a user would it call noise?"""

    strategy: Literal["screening"] = "screening"
    latest: Positive = 50
    """Number of a user's latest interactions to ask about; older ones stay."""
    threshold: Share = 0.1
    """An observed interaction with a lower P(Yes) is left out of the variant `refined`."""


class Screening:
    """One request per user, with a Yes/No question for each of the latest interactions; `shown` is their items."""

    def __init__(self, section: ScreeningSection, tools: Tools) -> None:
        self.section, self.prompts = section, tools.prompts
        self.prompts.check(["yes_no"])
        self.questions = section.latest
        self.sampling = Sampling()

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        """The prompt about an item shows the history without it. So a user with only one interaction is not asked about."""
        if len(history) < 2:
            return []
        latest = history[-self.section.latest :]
        asked = [self.prompts.yes_no(history[history != item], item) for item in latest]
        return [Asked(asked, latest, [self.prompts.yes, self.prompts.no])]

    def read(self, answers: pa.Table) -> Proposals:
        """Likelihood is P(Yes). All stay open for the judge: a changed threshold needs no new answers of the LLM."""
        return questioned(answers)


def kept(section: ScreeningSection) -> Judge:
    """The judge of observed interactions: each one with P(Yes) of at least the threshold stays."""
    return Judge(
        likelihood=1.0,
        agreement=0.0,
        yes_no=0.0,
        relative=False,
        threshold=section.threshold,
        keep=section.latest,
    )


SPEC = StrategySpec(
    settings=ScreeningSection,
    build=Screening,
    role="discriminator",
    task="yes_no",
    judge=kept,
    answers="score",
)
