"""The validation ranks of all trials of one search, to compare them user by user."""

from collections.abc import Sequence

import numpy as np

from longtail.evaluation.constrained_choice import Change, Changes, K, ndcg_by_slice
from longtail.evaluation.slices import Membership
from longtail.recommenders.training.reading import read_validation
from longtail.recommenders.training.validation import watched
from longtail.workspace.place import Place


class TrialRanks:
    """Keeps the ranks of the best validation of each trial. A Ray actor, so that the driver holds nothing of users."""

    def __init__(self, data: Place, slices: Sequence[str], seed: int) -> None:
        """slices: those that are compared, in the words of a recipe; seed: that of the trials' validations."""
        targets = watched(read_validation(data), seed)
        self.users, self.slices = targets.users, slices
        self.inside = Membership.read(slices, data).of(targets.users, targets.items)
        self.ranks: dict[int, np.ndarray] = {}

    def keep(self, trial: int, ranks: np.ndarray) -> None:
        """ranks int [targets]: those of a validation of the trial that is better than all before."""
        self.ranks[trial] = np.where(ranks <= K, ranks, 0).astype(np.int8)

    def changes(self, trials: list[int]) -> dict[int, list[Change]]:
        """How each of these trials changes the slices against trial 0. Empty if trial 0 is not among them."""
        if 0 not in trials:
            return {}
        columns = np.column_stack([self.ranks[trial] for trial in (0, *trials)])
        values = ndcg_by_slice(self.users, self.inside, columns)
        differences = {
            name: (own[:, 1:] - own[:, :1])[:, None] for name, own in zip(self.slices, values, strict=True)
        }
        found = Changes.of(differences)
        return {trial: found.of_candidate(number) for number, trial in enumerate(trials)}
