"""Strategy cold_pairs: which of two cold items would a user take next (cold-start augmenters, 2402.11724)?

Prompts and answers are those of `pairs`.
"""

from typing import Literal

from longtail.augment.strategies.pairs import Pairs
from longtail.augment.strategies.spec import StrategySpec, Tools
from longtail.augment.strategies.ways_of_asking import (
    PreferenceSection,
    asking_prompts,
    role_of,
    task_of,
    way_of,
)
from longtail.errors import InputError
from longtail.recipe import Positive


class ColdPairsSection(PreferenceSection):
    """Cold-start augmenters (2402.11724): which of two cold items would the user take next?"""

    strategy: Literal["cold_pairs"] = "cold_pairs"
    pairs: Positive = 5
    """Pairs for each user; the paper does not give the number."""


def build(section: ColdPairsSection, tools: Tools) -> Pairs:
    cold = tools.catalogue.cold
    if len(cold) < 2:
        raise InputError(
            f"augment, strategy cold_pairs: of {tools.catalogue.size} items {len(cold)} are cold (without a training"
            " interaction), but a pair needs two. Set dataset.split: temporal, so that late items are held out, or remove"
            " cold_pairs from the recipe."
        )
    prompts = asking_prompts(section, tools)
    return Pairs(section.pairs, prompts, way_of(section, prompts), cold)


SPEC = StrategySpec(settings=ColdPairsSection, build=build, role=role_of, task=task_of, answers="pair")
