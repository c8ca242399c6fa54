"""Strategy cold_users: which users would take an item that nobody has taken?

The mirror of next items, for recommenders that know no text: the interactions that a cold item lacks. The texts of the items
find the users; a generator may be asked which of more of them are the likeliest. Fusion adds the pairs at a low weight.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from longtail.arrays import entry_rows, rows_of, with_values
from longtail.augment.proposals import Proposals, listed
from longtail.augment.strategies.candidates import shown_items
from longtail.augment.strategies.spec import StrategySpec, Tools
from longtail.augment.strategies.strategy import Asked, Rng, Spoken
from longtail.augment.strategies.ways_of_asking import scoring, text_logprobs
from longtail.errors import InputError
from longtail.llm.prompts.building import Prompts
from longtail.llm.vllm_pool import Sampling
from longtail.recipe import Positive, Role, StrategySection
from longtail.recipe.judging import Weight
from longtail.schema import ACCEPTED, NOT_CHOSEN, PROPOSAL

if TYPE_CHECKING:
    from longtail.augment.takers import Takers

MORE = 4
"""How many times as many users the LLM is asked about as an item gets."""


class ColdUsersSection(StrategySection):
    """For each cold item the users who would take it, added to the log at a low weight."""

    strategy: Literal["cold_users"] = "cold_users"
    per_item: Positive = 10
    """At most this many users for each cold item."""
    ask: Literal["text", "likelihood"] = "text"
    """`text`: the users whose latest items have the most similar texts (`text.encoders`); no LLM is asked. `likelihood`: of
    four times as many of these, the ones with the best mean of two places: by text, and by how likely the generator finds
    the item's text after the user's history."""
    weight: Weight = 0.1
    """Weight of an added interaction in training, in the place of `judge.weight`. An observed one has weight 1."""


class ColdUsers:
    """One request per user who may take a cold item: `shown` are these items. Without an LLM it has no question.

    takers: reads the users of all cold items, in the worker.
    """

    def __init__(
        self, section: ColdUsersSection, prompts: Prompts | None, takers: Callable[[], "Takers"]
    ) -> None:
        self.section, self.prompts, self.takers = section, prompts, takers
        self.questions = section.per_item
        self.sampling = Sampling() if prompts is None else scoring(section, prompts)

    def ask(self, user: int, history: np.ndarray, rng: Rng) -> list[Asked]:
        takers = self.takers()
        items = takers.items[takers.of(user)]
        if not len(items):
            return []
        prompts = [] if self.prompts is None else [self.prompts.followed(history, item) for item in items]
        return [Asked(prompts, items)]

    def read(self, answers: pa.Table) -> Proposals:
        """All stay open for `together`. likelihood: with an LLM, the mean probability of a token of the item's text."""
        if self.prompts is None:
            rows, items = listed(answers, "shown")
            return Proposals.open(rows, items, np.full(len(rows), np.nan))
        said = Spoken.of(answers)
        rows, items = shown_items(answers, said)
        tokens = np.diff(self.prompts.items.indptr)[items]
        likelihood = np.exp(text_logprobs(said, self.prompts, items) / tokens)
        order = np.lexsort((-likelihood, rows))
        return Proposals.open(rows[order], items[order], likelihood[order])

    def together(self, answers: pa.Table) -> pa.Table:
        """The answers of all users, with the best `per_item` users of each item accepted.

        confidence: 1 for the best user of an item, 1/n for the last of n.
        """
        lists = answers["proposals"].combine_chunks()
        flat, rows = lists.flatten(), entry_rows(lists)
        items = flat.field("item").to_numpy(zero_copy_only=False).astype(np.int64)
        by_text = means = self._places_by_text(answers["user"].to_numpy()[rows], items)
        if self.prompts is not None:
            likelihood = flat.field("likelihood").to_numpy(zero_copy_only=False)
            means = (_places(items, by_text) + _places(items, -likelihood, by_text)) / 2
        final = _places(items, means, by_text)
        taken = final < self.section.per_item
        confidence = 1 - final / np.minimum(np.bincount(items)[items], self.section.per_item)
        fields = {field.name: flat.field(field.name) for field in PROPOSAL}
        outcomes = pa.array([NOT_CHOSEN, ACCEPTED], pa.string())
        fields["outcome"] = outcomes.take(pa.array(taken.astype(np.int64)))
        fields["confidence"] = pa.array(np.maximum(confidence, 0), pa.float32())
        structs = pa.StructArray.from_arrays(list(fields.values()), fields=list(PROPOSAL))
        column = answers.column_names.index("proposals")
        return answers.set_column(column, "proposals", with_values(lists, structs))

    def _places_by_text(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """How many users are more similar to the item than each of users int [n]: int64 [n]."""
        takers = self.takers()
        owners = rows_of(np.diff(takers.indptr))
        keys = owners << 32 | takers.items.astype(np.int64)  # ascending
        wanted = users.astype(np.int64) << 32 | items
        return takers.places[np.searchsorted(keys, wanted)].astype(np.int64)


def _places(items: np.ndarray, *scores: np.ndarray) -> np.ndarray:
    """The place of each entry among those of its item, 0 for the lowest score; of equal ones the later scores decide:
    int64 [n].
    """
    order = np.lexsort((*reversed(scores), items))
    found = np.empty(len(items), np.int64)
    found[order] = np.arange(len(items)) - np.searchsorted(items[order], items[order])
    return found


def role_of(section: ColdUsersSection) -> Role | None:
    return "generator" if section.ask == "likelihood" else None


def build(section: ColdUsersSection, tools: Tools) -> ColdUsers:
    if not len(tools.catalogue.cold):
        raise InputError(
            f"augment, strategy cold_users: none of {tools.catalogue.size} items is cold (without a training interaction)."
            " Set dataset.split to cold or temporal, so that some are, or remove cold_users from the recipe."
        )
    asks = section.ask == "likelihood"
    takers = tools.takers(section.per_item * (MORE if asks else 1))
    return ColdUsers(section, tools.prompts if asks else None, takers)


SPEC = StrategySpec(
    settings=ColdUsersSection,
    build=build,
    role=role_of,
    task="next_item",
    answers="list",
    reads_texts=True,
    together=True,
)
