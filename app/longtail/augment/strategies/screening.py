"""Strategy screening: which of a user's observed interactions would the discriminator call noise?

LLM-I2I (2512.21595) refines what was collected as well as what was generated, by its abstract; the variant
`refined` leaves out what is rejected here.
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
    """LLM-I2I's discriminator on what was observed: which interactions of a user would it call noise?"""

    strategy: Literal["screening"] = "screening"
    latest: Positive = 50
    """So many of the latest interactions are questioned; older ones stay."""
    threshold: Share = 0.1
    """An observed interaction whose P(Yes) is lower is left out of the variant `refined`."""


class Screening:
    """One request per user, a question Yes or No of each of the latest interactions; `shown` are their items."""

    def __init__(self, section: ScreeningSection, tools: Tools) -> None:
        self.section, self.prompts = section, tools.prompts
        self.prompts.check(["yes_no"])
        self.questions = section.latest
        self.sampling = Sampling()

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        """Each item is asked for with the history without it; an only item has nothing to be judged by."""
        if len(history) < 2:
            return []
        latest = history[-self.section.latest :]
        asked = [self.prompts.yes_no(history[history != item], item) for item in latest]
        return [Asked(asked, latest, [self.prompts.yes, self.prompts.no])]

    def read(self, answers: pa.Table) -> Proposals:
        """Likelihood is P(Yes). All stay open: the threshold acts after the ledger, so another one asks nothing."""
        return questioned(answers)


def kept(section: ScreeningSection) -> Judge:
    """The judge of what was observed: an interaction stays where P(Yes) reaches the threshold, however many do."""
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
