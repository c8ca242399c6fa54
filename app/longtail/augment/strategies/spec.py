"""What a strategy declares to all others: a `SPEC` in its file. A line in `longtail/registry.py` gives it its name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from longtail.augment.strategies.item_tokens import Catalogue
from longtail.augment.strategies.strategy import Strategy
from longtail.llm.prompts.building import Prompts
from longtail.recipe import Judge, Recipe, Role, StrategySection, Task

if TYPE_CHECKING:
    from longtail.data import Prepared
    from longtail.llm.prompts.hints import Hints
    from longtail.workspace import Workspace


@dataclass(frozen=True)
class StrategySpec:
    """A strategy's settings, its code, and what the recipe, the judge, fusion and evaluation need to know of it.

    Loading a recipe imports the file of every strategy that it names, so such a file imports neither PyTorch nor vLLM.
    """

    settings: type[StrategySection]
    """Its section of the recipe."""
    build: Callable[[Any, "Tools"], Strategy]
    """Makes what asks and reads, of such a section. Raises InputError if the LLM or the catalogue cannot carry it."""
    role: Role | Callable[[Any], Role]
    """The LLM that answers; a function of the section if that depends on the settings."""
    task: Task | Callable[[Any], Task]
    """The task of tuning that teaches this LLM to answer, or a function of the section. The words of its prompts stand
    in `llm/prompts/words.py`, for tuning and asking must share them, and so do strategies that are taught by one task."""
    ranks: bool = False
    """It gives every user a list, which is published as `rankings`."""
    judged: bool = False
    """What it leaves open is put to the discriminator, and the recipe's `judge` decides. A recommender may have a judge
    of its own."""
    judge: Callable[[Any], Judge] | None = None
    """Of the section, the judge that decides what is left open; the discriminator is not asked again."""
    answers: Literal["list", "score", "pair"] | None = None
    """How its answers are held against what users did later (`evaluation/answer_agreement.py`): it names items, it scores
    items that were shown, or it says which of two is preferred. None: not at all."""

    def role_of(self, section: StrategySection) -> Role:
        return self.role(section) if callable(self.role) else self.role

    def task_of(self, section: StrategySection) -> Task:
        return self.task(section) if callable(self.task) else self.task

    @property
    def preferring(self) -> bool:
        """Whether it says preferences: fusion writes them beside the log, and adds no interactions."""
        return self.answers == "pair"


@dataclass(frozen=True)
class Tools:
    """What a strategy asks and reads with: the prompts of the LLM that answers, and the catalogue.

    hints: by a recommender's name a function that gives that recommender and the users' histories, in a worker; no other
    process holds them. It is fitted once this is called.
    """

    prompts: Prompts
    catalogue: Catalogue
    hints: Callable[[str], Callable[[], "Hints"]]

    @classmethod
    def open(cls, recipe: Recipe, role: Role, ws: "Workspace", prepared: "Prepared") -> "Tools":
        """For the tuned LLM in the workspace."""
        tuning, items = getattr(recipe, role), prepared.items
        prompts = Prompts.open(ws / f"llm/{role}", items, recipe.llm.items, tuning.history, tuning.context)
        catalogue = Catalogue(items, recipe.llm.items, prompts.tokenizer)
        return cls(prompts, catalogue, partial(_hints, recipe, prepared))


def _hints(recipe: Recipe, prepared: "Prepared", recommender: str) -> Callable[[], "Hints"]:
    import ray

    from longtail.llm.prompts.hints import build_hints
    from longtail.runtime.cluster import fetch

    section = recipe.itemcf if recommender == "itemcf" else recipe.recommenders[recommender]
    task = ray.remote(num_cpus=1)(build_hints)
    return partial(fetch, task.remote(prepared.place, recommender, section, recipe.seed))
