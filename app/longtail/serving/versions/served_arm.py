"""One setting of the aggregator, ready to fuse: the recommender, the lists of the LLM, and how they become one."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from longtail.aggregation.artefact import Artefact
from longtail.aggregation.formulas import Sparsity, Union
from longtail.aggregation.fused import Ranking
from longtail.aggregation.llm_lists import LLMLists
from longtail.registry import recommender_spec
from longtail.serving.versions.evidence import Evidence
from longtail.serving.versions.retriever import List, Retriever

NO_LIST: List = np.zeros(0, np.int32), np.zeros(0, np.float32)


@dataclass(frozen=True)
class Arm:
    """chosen: what is fused and how. lists: None if the recommender is served alone. evidence: None if the training set is
    no longer in the workspace. n_trained: the items of the catalogue; later codes were added after training.
    """

    name: str
    chosen: Artefact
    retriever: Retriever
    lists: LLMLists | None
    evidence: Evidence | None
    n_trained: int

    @cached_property
    def keeps_users(self) -> bool:
        """Whether the recommender ranks for a known user by what the fit learnt, whatever the user took since."""
        return recommender_spec(self.retriever.model.name).keeps_users

    @cached_property
    def list_length(self) -> int:
        """That of the longest list of the LLM."""
        return int(self.lists.lengths.max(initial=0)) if self.lists else 0

    @cached_property
    def sparsity(self) -> Sparsity:
        """How sparse a user is among those of the training set."""
        return Sparsity.among(self.retriever.model.seen.lengths)

    def list_of(self, user: int) -> List:
        """The LLM's list of a user, as it was made; empty without one."""
        if self.lists is None:
            return NO_LIST
        start, end = self.lists.indptr[user : user + 2]
        return self.lists.items[start:end], self.lists.scores[start:end]

    def fuse(
        self,
        recommender: tuple[np.ndarray, np.ndarray],
        llm: tuple[np.ndarray, np.ndarray],
        interactions: np.ndarray,
    ) -> Ranking:
        """The fused lists of n users, from items int32 and scores float32 [n, k] of the recommender and [n, m] of the LLM,
        -1 where there is no item, and N(u) int [n].
        """
        union, fusion = Union.of(recommender, llm), self.chosen.fusion
        alpha = fusion.alpha(interactions, self.sparsity)
        return Ranking.of(union, fusion, alpha, union.items.shape[1], interactions)
