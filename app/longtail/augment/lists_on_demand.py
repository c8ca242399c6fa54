"""The LLM's list for any history, made as `augment` makes that of a user: the same prompt, reading, judge and order.

So a list that is asked for while serving equals the published one, if the history is the same. There is no ledger and no
discriminator here: neither changes the order of a list.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from longtail.arrays import views_of
from longtail.augment.judge import rankings, with_agreement
from longtail.augment.outcomes import BY_LIKELIHOOD, settling_judge
from longtail.augment.strategies.item_tokens import rare_items
from longtail.augment.strategies.spec import Tools
from longtail.augment.strategies.strategy import Strategy, requests
from longtail.data import Prepared
from longtail.errors import InputError
from longtail.recipe import Judge, check_saved
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.neighbours import Neighbours
from longtail.recommenders.training.reading import observed_itemcf
from longtail.registry import strategy_spec
from longtail.schema import HISTORIES
from longtail.workspace import Workspace, read_manifest
from longtail.workspace.place import Place

List = tuple[np.ndarray, np.ndarray]
"""Items int32 [n], best first, and their scores float32 [n] in 0..1, falling."""


@dataclass(frozen=True)
class ListsOnDemand:
    """Writes the requests of one published strategy for histories at hand, and reads their answers as lists.

    llm: the folder of the LLM that made the published lists. made_of: the fingerprint of these lists, which says that LLM,
    data and settings are the same. itemcf: None if nothing is open after reading.
    """

    strategy: Strategy
    llm: Place
    made_of: str
    judge: Judge | None
    itemcf: Neighbours | None
    rare: np.ndarray

    @classmethod
    def open(cls, ws: Workspace, data: str, answers: str) -> Self:
        """For the lists that are published at `answers`, made from the histories at `data`, both relative to the workspace.

        ItemCF is fitted on them again, so call it where a table of all users may be held. Raises InputError if such a list
        cannot be made while a request waits, or if the workspace no longer has what these lists were made of.
        """
        manifest = read_manifest(ws.require(answers))
        recipe = check_saved(manifest["recipe"], f"{ws}/{answers}", "Run longtail augment again.")
        name = answers.rsplit("/", 1)[-1]
        if why := recipe.not_live(name):
            raise InputError(
                f"serving.live: {why}. Set serving.live to false: the lists made by augment are served."
            )
        section, spec = recipe.strategies[name], strategy_spec(name)
        role = spec.role_of(section)
        of_data, *of_llms = manifest["inputs"]
        published = {one["fingerprint"]: place for place, one in ws.manifests().items()}
        llm = published.get(of_llms[recipe.roles.index(role)])
        if llm is None or published.get(of_data) != data:
            raise InputError(
                f"{ws}: {'the ' + role if llm is None else data} that made {answers} was replaced since. Run longtail"
                " augment and longtail evaluate again, or set serving.live to false."
            )
        prepared = Prepared(ws, data)
        judge = settling_judge(spec, recipe, section)
        return cls(
            strategy=spec.build(section, Tools.open(recipe, role, ws / llm, prepared)),
            llm=ws / llm,
            made_of=manifest["fingerprint"],
            judge=judge,
            itemcf=observed_itemcf(prepared.place, recipe.itemcf) if judge else None,
            rare=rare_items(prepared.items),
        )

    def requests(self, histories: list[np.ndarray]) -> pa.Table:
        """Rows of `schema.REQUESTS`, `user` being the number of the history. histories: item codes int32, oldest first.

        An empty history has no row.
        """
        rows = [
            {"user": row, "user_id": str(row), "items": history, "train_end": len(history)}
            for row, history in enumerate(histories)
        ]
        return requests(pa.Table.from_pylist(rows, HISTORIES), self.strategy, "", 0)

    def lists(self, answered: pa.Table, n: int) -> list[List]:
        """The list of each of `n` histories, from their requests with `answers`; empty if the LLM named no new item."""
        drafts = answered.append_column("proposals", self.strategy.read(answered).column(len(answered)))
        if self.itemcf is not None:
            asked = Histories.of(views_of(answered["history"].combine_chunks()))
            drafts = with_agreement(drafts, self.itemcf, asked)
        ranked = rankings(drafts, self.judge or BY_LIKELIHOOD, self.rare).combine_chunks()
        found: list[List] = [(np.zeros(0, np.int32), np.zeros(0, np.float32))] * n
        columns = (views_of(ranked[name].combine_chunks()) for name in ("items", "scores"))
        for row, *own in zip(ranked["user"].to_pylist(), *columns, strict=True):
            found[row] = tuple(own)
        return found
