"""What a strategy declares: a `SPEC` at the end of its file. A line in `longtail/registry.py` gives it its name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from longtail.augment.strategies.item_tokens import Catalogue
from longtail.augment.strategies.strategy import Strategy
from longtail.llm.prompts.building import Prompts
from longtail.recipe import Judge, Recipe, Role, StrategySection, Task, Tuning

if TYPE_CHECKING:
    from longtail.augment.strategies.solved_pairs import SolvedPair
    from longtail.augment.takers import Takers
    from longtail.data import Prepared
    from longtail.llm.prompts.hints import Hints
    from longtail.text.text_source import TextSource
    from longtail.workspace.place import Place


@dataclass(frozen=True)
class StrategySpec:
    """A strategy's settings, its code, and what the recipe, the judge, fusion and evaluation need to know of it.

    A recipe imports the file of every strategy that it names, so these files must not import PyTorch or vLLM.
    """

    settings: type[StrategySection]
    """The class of its section in the recipe."""
    build: Callable[[Any, "Tools"], Strategy]
    """Makes the `Strategy` from its section. Raises InputError if the LLM or the catalogue does not allow the settings."""
    role: Role | Callable[[Any], Role | None]
    """The LLM that answers, or a function of the section if this depends on the settings. None: no LLM is asked."""
    task: Task | Callable[[Any], Task]
    """The tuning task that teaches this LLM to answer, or a function of the section. The words of the prompts are in
    `llm/prompts/words.py`, because tuning and asking must use the same ones. Strategies with the same task share them."""
    ranks: bool = False
    """Whether it gives every user a list, which is published as `rankings`."""
    on_demand: bool = False
    """Whether what it asks depends on nothing but the history. So it can also be asked about somebody's history while
    serving, and gives the same list as before (`augment/lists_on_demand.py`)."""
    judged: bool = False
    """Whether the discriminator is asked about its open proposals, and the recipe's `judge` decides. A recommender may
    have its own judge."""
    judge: Callable[[Any], Judge] | None = None
    """From the section, its own judge of open proposals. In this case the discriminator is not asked about them."""
    answers: Literal["list", "score", "pair"] | None = None
    """How its answers are compared with later interactions (`evaluation/answer_agreement.py`). list: it names items. score:
    it scores shown items. pair: it says which of two items is preferred. None: they are not compared."""

    reads_texts: bool = False
    """Whether it reads the texts of items as the recipe's encoders see them (`Tools.takers`)."""
    together: bool = False
    """Whether its open proposals are decided about for all users at once, by its method `together`: a table of rows of
    `schema.ANSWERS` in, the same rows out, with an outcome for every proposal. One Ray task holds them all."""

    def role_of(self, section: StrategySection) -> Role | None:
        return self.role(section) if callable(self.role) else self.role

    def task_of(self, section: StrategySection) -> Task:
        return self.task(section) if callable(self.task) else self.task

    @property
    def preferring(self) -> bool:
        """Whether its answers are preferences. Fusion writes them to a separate file and adds no interactions."""
        return self.answers == "pair"


@dataclass(frozen=True)
class Tools:
    """What a strategy needs to ask and read: the prompts of the LLM that answers, the catalogue, hints and takers.

    prompts: None if no LLM answers, and so is `tuning`, which is what the LLM was taught. hints: takes the name of a
    recommender and starts to fit it. It returns a function that gives the fitted recommender and the users' histories. Call
    that one in a worker, so that no other process holds them. takers: likewise, from a number to as many users of each cold
    item, by text. solved: from a number to as many solved questions of training users.
    """

    prompts: Prompts | None
    catalogue: Catalogue
    hints: Callable[[str], Callable[[], "Hints"]]
    tuning: Tuning | None
    takers: Callable[[int], Callable[[], "Takers"]]
    solved: Callable[[int], list["SolvedPair"]]

    @classmethod
    def open(
        cls,
        recipe: Recipe,
        role: Role | None,
        llm: "Place | None",
        prepared: "Prepared",
        texts: "TextSource | None" = None,
    ) -> "Tools":
        """For the tuned LLM in the folder `llm`. texts: for a strategy that reads them."""
        found, solved = partial(_takers, prepared.place, texts), partial(_solved, prepared, recipe.seed)
        if role is None or llm is None:
            catalogue = Catalogue(prepared.items, "title", None)
            return cls(None, catalogue, partial(_hints, recipe, prepared, None), None, found, solved)
        tuning, items = getattr(recipe, role), prepared.items
        prompts = Prompts.open(llm, items, recipe.llm.items, tuning.history, tuning.context)
        catalogue = Catalogue(items, recipe.llm.items, prompts.tokenizer)
        return cls(prompts, catalogue, partial(_hints, recipe, prepared, tuning), tuning, found, solved)


def _takers(data: "Place", texts: "TextSource", count: int) -> Callable[[], "Takers"]:
    import ray

    from longtail.augment.takers import read_takers
    from longtail.runtime.cluster import fetch

    return partial(fetch, ray.remote(num_cpus=1)(read_takers).remote(data, texts, count))


def _solved(prepared: "Prepared", seed: int, count: int) -> list["SolvedPair"]:
    import ray

    from longtail.augment.strategies.solved_pairs import solved_pairs

    file = (prepared.place / "histories").files(".parquet")[0]
    return ray.get(ray.remote(num_cpus=1)(solved_pairs).remote(file, len(prepared.items), count, seed))


def _hints(
    recipe: Recipe, prepared: "Prepared", tuning: Tuning | None, recommender: str
) -> Callable[[], "Hints"]:
    import ray

    from longtail.llm.prompts.hints import build_hints
    from longtail.runtime.cluster import fetch

    section = recipe.itemcf if recommender == "itemcf" else recipe.recommenders[recommender]
    task = ray.remote(num_cpus=1)(build_hints)
    return partial(fetch, task.remote(prepared.place, recommender, section, recipe.seed, tuning))
