"""The rounds of a run: with what history everything is made, and on which items it is measured.

Protocol `standard` (`Evaluation.protocol`) has two rounds. In the first, the training items are known and the validation
items are the targets: every epoch, amount and fusion is chosen here. In the `final` round the validation items are known
too: the LLMs are asked again, every recommender is fitted again for as many epochs as were chosen, and the test items are
the targets. Published leave-one-out tables are made in this way. Protocol `train-only` has one round: the test is two steps
ahead of what is known.

`longtail refit` makes one more round, of what is served: the whole log is known, and nothing is measured.

With several seeds everything random is repeated: the i-th fits learn from what the i-th generator proposed.
"""

from dataclasses import dataclass

from longtail.recipe import Recipe, Role
from longtail.schema import FINAL, PRODUCTION


@dataclass(frozen=True)
class Round:
    """One round of one seed.

    final: whether the validation items are known. tests: whether the test items are ranked in this round. retuned: whether
    its LLMs were tuned with the validation items too. whole: whether the test items are known too; its LLMs are those of
    the round that ranked the test.
    """

    seed_index: int = 0
    final: bool = False
    tests: bool = True
    retuned: bool = False
    whole: bool = False

    @property
    def folder(self) -> str:
        """The folder of its places, relative to the workspace: empty, or with a slash at the end."""
        return self._of_seed + self._of_known

    def at(self, name: str) -> str:
        """A place of this round, relative to the workspace."""
        return self.folder + name

    @property
    def data(self) -> str:
        """The histories as they are known in this round. All seeds have the same."""
        return f"{self._of_known}data"

    def llm(self, role: Role) -> str:
        """The LLM that is asked in this round."""
        return f"{self._of_seed}{FINAL if self.retuned else ''}llm/{role}"

    @property
    def _of_known(self) -> str:
        return PRODUCTION if self.whole else FINAL if self.final else ""

    @property
    def _of_seed(self) -> str:
        return f"seed-{self.seed_index}/" if self.seed_index else ""

    def seeded(self, recipe: Recipe) -> Recipe:
        """The recipe with the seed of this round."""
        return (
            recipe.model_copy(update={"seed": recipe.seed + self.seed_index}) if self.seed_index else recipe
        )


FIRST_ROUND = Round()
"""The round of the first seed in which the validation items are not known."""


def rounds(recipe: Recipe) -> list[Round]:
    """All rounds of a recipe, a round after the one that it takes its choices from."""
    return [one for index in range(recipe.evaluation.seeds) for one in _of_seed(recipe, index)]


def last_round(recipe: Recipe, seed_index: int = 0) -> Round:
    """The round of a seed that ranks the test items, and from which is served."""
    return _of_seed(recipe, seed_index)[-1]


def production_round(recipe: Recipe, seed_index: int = 0) -> Round:
    """The round of a seed in which the whole log is known."""
    retuned = last_round(recipe, seed_index).retuned
    return Round(seed_index, final=True, tests=False, retuned=retuned, whole=True)


def first_round(round_: Round) -> Round:
    """The round of the same seed in which everything is chosen, which may be this one."""
    return Round(round_.seed_index, tests=False) if round_.final else round_


def _of_seed(recipe: Recipe, index: int) -> list[Round]:
    if recipe.evaluation.protocol == "train-only":
        return [Round(index)]
    return [Round(index, tests=False), Round(index, final=True, retuned=recipe.evaluation.retune)]
