"""What the trained recommenders share: from interactions to arrays for the loop, from its answer to weights."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch

from longtail.recommenders.interactions import Histories, Interactions, Preferences, Targets
from longtail.recommenders.recommender import Recommender
from longtail.recommenders.training.training_loop import Arrays, Fitted, Learner, Training, train_loop
from longtail.recommenders.training.validation import Validation
from longtail.runtime.workers import on_workers
from longtail.workspace.place import Place

LEARNING_CURVE = "learning_curve.parquet"


class TrainedRecommender(Recommender):
    """A model adds `learner`, `loop_arrays`, and `restore` of what its learner calls weights."""

    learner: ClassVar[type[Learner]]
    warm: np.ndarray
    """bool [items]: some interaction or preference trained it; others are no candidates."""
    curve: Arrays | None = None
    """Of the fit in this process: epoch, loss, seconds and ndcg, each [epochs]."""

    def learn(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        section, compute = self.section, self.compute
        arrays = self.prepared(train, preferences)
        self.warm = np.zeros(train.n_items, bool)
        for items in (arrays["indices"], preferences.preferred, preferences.rejected):
            self.warm[items] = True
        watched = validation is not None and len(validation.users) and section.validate_every
        training = Training(
            name=self.name,
            learner=self.learner,
            arrays=arrays,
            settings=section.model_dump() | {"seed": self.seed, "shape": (train.n_users, train.n_items)},
            epochs=section.epochs,
            seed=self.seed,
            validate=Validation.of(self, validation, self.seed) if watched else None,
            validate_every=section.validate_every,
            patience=section.patience,
            lr_drops=section.lr_drops,
            checkpoints=compute.checkpoints,
            say=compute.say,
            report=compute.report,
        )
        found = _trained(training, self.most_workers(), compute.use_gpu)
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

    def save(self, place: Place) -> None:
        super().save(place)
        if self.curve:
            (place / LEARNING_CURVE).write_table(pa.table(self.curve))

    def most_workers(self) -> int:
        """How many workers this fit can use."""
        return self.compute.workers

    def kept_or_folded(
        self,
        kept: np.ndarray,
        fold: Callable[[Histories], np.ndarray],
        histories: Histories,
        users: np.ndarray | None,
    ) -> np.ndarray:
        """float32 [rows, width]: of a known user the vector of the fit, a row of `kept`; an ad-hoc one, or one who had no
        item in the training set, so that no vector was learnt, is folded in.
        """
        if users is None:
            return fold(histories)
        starts = self.seen.indptr
        found, new = kept[users], np.flatnonzero(starts[users] == starts[users + 1])
        found[new] = fold(histories.take(new))
        return found

    def prepared(self, train: Interactions, preferences: Preferences) -> Arrays:
        """What the learner is given: users x items as CSR (indptr, indices, weights), preferences, `loop_arrays`."""
        taken = train.matrix.copy()
        taken.eliminate_zeros()
        return {
            "indptr": taken.indptr.astype(np.int64),
            "indices": taken.indices.astype(np.int64),
            "weights": taken.data.astype(np.float32),
            "preference_users": preferences.users.astype(np.int64),
            "preferred": preferences.preferred.astype(np.int64),
            "rejected": preferences.rejected.astype(np.int64),
            "confidences": preferences.confidences.astype(np.float32),
        } | self.loop_arrays(train)

    def loop_arrays(self, train: Interactions) -> Arrays:
        """What the learner of this model wants besides."""
        return {}

    @abstractmethod
    def restore(self, arrays: Arrays) -> None: ...


def _trained(training: Training, n_workers: int, use_gpu: bool) -> Fitted:
    """In this process where there is no worker. Raises InputError where the loss did not stay finite."""
    if n_workers == 0:
        return train_loop(training, torch.device("cuda" if use_gpu else "cpu"))
    return on_workers(_on_worker, training, n_workers, use_gpu)


def _on_worker(training: Training) -> Fitted:
    from ray.train.torch import get_device

    return train_loop(training, get_device())
