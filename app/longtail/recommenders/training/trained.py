"""The base class of the trained recommenders: it gives the training loop its arrays, and takes the weights from it."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pyarrow as pa
import torch

from longtail.errors import InputError
from longtail.recommenders.interactions import Histories, Interactions, Preferences, Targets
from longtail.recommenders.scoring.candidate_items import CandidateRecommender, Candidates
from longtail.recommenders.trained_section import TextSection
from longtail.recommenders.training.cold_vectors import LEARNT, ColdItems, as_long
from longtail.recommenders.training.schedule import Schedule
from longtail.recommenders.training.text_ridge import WORDS
from longtail.recommenders.training.training_loop import Arrays, Fitted, Learner, Training, train_loop
from longtail.recommenders.training.validation import Validation
from longtail.runtime.workers import on_workers
from longtail.workspace.place import Place

LEARNING_CURVE = "learning_curve.parquet"


MAP = "map"
"""The name of the learnt map of texts, float32 [width of texts, width of vectors], among the weights of a learner. It is
for the vectors of cold items, and not kept."""


class TrainedRecommender(CandidateRecommender):
    """A model adds `learner`, `loop_arrays`, `item_tables`, and `restore`, which sets the weights that its learner returned.

    Only items that something trained are candidates. With texts, cold items that have a text are too, see `ColdItems`. In
    training they are never negatives.
    """

    learner: ClassVar[type[Learner]]
    schedule: Schedule | None = None
    """How long to train. None: validation decides, or else all epochs of the section are trained."""
    curve: Arrays | None = None
    """The learning curve of a fit in this process: epoch, loss, seconds and ndcg, each [epochs]."""

    def learn(self, train: Interactions, preferences: Preferences, validation: Targets | None) -> None:
        section, compute = self.section, self.compute
        arrays = self.prepared(train, preferences)
        warm = np.zeros(train.n_items, bool)
        warm[arrays["indices"]] = True
        if (
            "item_text" not in arrays
        ):  # with texts, an item that only preferences name has the vector of its text
            warm[preferences.preferred] = warm[preferences.rejected] = True
        self.candidates = Candidates(warm)
        schedule = self.schedule
        watched = (
            schedule is None and validation is not None and len(validation.users) and section.validate_every
        )
        training = Training(
            name=self.name,
            learner=self.learner,
            arrays=arrays,
            settings=section.model_dump() | {"seed": self.seed, "shape": (train.n_users, train.n_items)},
            epochs=schedule.epochs if schedule else section.epochs,
            drop_after=tuple(schedule.lr_drops) if schedule else (),
            seed=self.seed,
            validate=Validation.of(self, validation, self.seed, compute.ranked) if watched else None,
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
            self.counts["lr drops"] = found.drops
            self.counts["validation NDCG@10"] = max(score for _, score in found.scores)
        if MAP in found.weights:
            self._offer_cold(train, arrays["item_text"] @ found.weights[MAP], validation)

    def _offer_cold(self, train: Interactions, mapped: np.ndarray, validation: Targets | None) -> None:
        """Rank cold items by their texts. mapped float32 [items, width]: what the learnt map makes of each text."""
        warm = self.candidates.warm
        cold, figures = ColdItems.of(warm, train.texts().dense(seed=0, words=WORDS), self.item_tables())
        self.counts |= figures
        if cold is None:
            return
        vectors = cold.tables[0]
        learnt = mapped[cold.codes] * np.float32(as_long(mapped[warm], vectors[warm]))
        chosen = self.schedule.cold if self.schedule else None
        if chosen is None:
            chosen, figures = cold.better(self, learnt, validation, self.seed)
            self.counts |= figures
        self.counts["vectors of cold items"] = chosen
        cold.place(learnt if chosen == LEARNT else None)
        self.offer(cold.codes, self.section.cold_share)

    @abstractmethod
    def item_tables(self) -> list[np.ndarray]:
        """The arrays float32 [items, width] that have a row for each item, to be written to: first the vectors that are
        ranked, then those that make a user of a history.
        """

    def save(self, place: Place) -> None:
        super().save(place)
        if self.curve:
            (place / LEARNING_CURVE).write_table(pa.table(self.curve))

    def most_workers(self) -> int:
        """The number of workers that this fit can use."""
        return self.compute.workers

    def kept_or_folded(
        self,
        kept: np.ndarray,
        fold: Callable[[Histories], np.ndarray],
        histories: Histories,
        users: np.ndarray | None,
    ) -> np.ndarray:
        """The vectors of some users, float32 [rows, width].

        A known user gets the vector learnt in the fit, a row of `kept`. The vector of another user is computed from the
        history by `fold`: this is a user outside the training set, or one without observed items in it.
        """
        if users is None:
            return fold(histories)
        starts = self.seen.indptr
        found, new = kept[users], np.flatnonzero(starts[users] == starts[users + 1])
        found[new] = fold(histories.take(new))
        return found

    def prepared(self, train: Interactions, preferences: Preferences) -> Arrays:
        """The arrays for the learner: users x items as CSR (indptr, indices, weights), preferences and `loop_arrays`."""
        taken = train.matrix.copy()
        taken.eliminate_zeros()
        return (
            self._item_text(train, np.bincount(taken.indices, minlength=train.n_items) > 0)
            | {
                "indptr": taken.indptr.astype(np.int64),
                "indices": taken.indices.astype(np.int64),
                "weights": taken.data.astype(np.float32),
                "preference_users": preferences.users.astype(np.int64),
                "preferred": preferences.preferred.astype(np.int64),
                "rejected": preferences.rejected.astype(np.int64),
                "confidences": preferences.confidences.astype(np.float32),
            }
            | self.loop_arrays(train)
        )

    def _item_text(self, train: Interactions, known: np.ndarray) -> Arrays:
        """The text vectors of the items, and which of them are in the log, if the section asks for texts."""
        if not (isinstance(self.section, TextSection) and self.section.text):
            return {}
        vectors = train.texts().dense(seed=0) if train.texts else np.zeros(0, np.float32)
        if not vectors.any():
            raise InputError(
                "text: no two items share a word. Set text to false, or name the columns with the titles of items"
                " (dataset.columns)."
            )
        return {"item_text": vectors, "item_known": known}

    def loop_arrays(self, train: Interactions) -> Arrays:
        """More arrays, which only the learner of this model needs."""
        return {}

    @abstractmethod
    def restore(self, arrays: Arrays) -> None: ...


def _trained(training: Training, n_workers: int, use_gpu: bool) -> Fitted:
    """Train on the workers, or in this process if `n_workers` is 0. Raises InputError if the loss became infinite or NaN."""
    if n_workers == 0:
        return train_loop(training, torch.device("cuda" if use_gpu else "cpu"))
    return on_workers(_on_worker, training, n_workers, use_gpu)


def _on_worker(training: Training) -> Fitted:
    from ray.train.torch import get_device

    return train_loop(training, get_device())
