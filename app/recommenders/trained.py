"""What the trained recommenders share: from interactions to arrays for the loop, from its answer to weights."""

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from app.recommenders.base import Interactions, Preferences, Targets
from app.recommenders.launch import launch
from app.recommenders.ranker import Ranker
from app.recommenders.training import Arrays, Learner, Training
from app.recommenders.validation import Validation


class TrainedRanker(Ranker):
    """A model adds `learner`, `loop_arrays`, and `restore` of what its learner calls weights."""

    learner: ClassVar[type[Learner]]
    warm: np.ndarray
    """bool [items]: some interaction or preference trained it; others are no candidates."""

    def _fit(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        taken = train.matrix.copy()
        taken.eliminate_zeros()
        self.warm = np.zeros(train.n_items, bool)
        self.warm[taken.indices] = True
        self.warm[preferences.preferred] = self.warm[preferences.rejected] = True
        section, compute = self.section, self.compute
        arrays = {
            "indptr": taken.indptr.astype(np.int64),
            "indices": taken.indices.astype(np.int64),
            "weights": taken.data.astype(np.float32),
            "preference_users": preferences.users.astype(np.int64),
            "preferred": preferences.preferred.astype(np.int64),
            "rejected": preferences.rejected.astype(np.int64),
            "confidences": preferences.confidences.astype(np.float32),
        } | self.loop_arrays(train)
        watched = validation is not None and len(validation.users) and section.validate_every
        training = Training(
            name=self.name,
            learner=self.learner,
            arrays=arrays,
            settings=section.model_dump() | {"seed": self.seed, "shape": taken.shape},
            epochs=section.epochs,
            seed=self.seed,
            validate=Validation.of(self, validation, self.seed) if watched else None,
            validate_every=section.validate_every,
            patience=section.patience,
            checkpoints=compute.checkpoints,
            say=compute.say,
        )
        found = launch(training, self.most_workers(), compute.use_gpu)
        self.restore(found.weights)
        self.curve = found.curve()
        self.counts = {
            "epochs": len(found.losses),
            "best epoch": found.best_epoch,
            "seconds per epoch": round(float(np.mean(found.seconds)), 4) if found.seconds else 0.0,
            "final_loss": found.losses[-1] if found.losses else None,
        }
        if found.scores:
            self.counts["validation NDCG@10"] = max(score for _, score in found.scores)

    def most_workers(self) -> int:
        """How many workers this fit can use."""
        return self.compute.workers

    def loop_arrays(self, train: Interactions) -> Arrays:
        """What the learner wants beside the users x items CSR (indptr, indices, weights) and the preferences."""
        return {}

    @abstractmethod
    def restore(self, arrays: Arrays) -> None: ...
