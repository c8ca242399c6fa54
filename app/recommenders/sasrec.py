"""SASRec (Kang, McAuley, arXiv 1808.09781): a causal transformer predicts a user's next item."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix

from app.recipe import SASRec as Section
from app.recommenders.base import Histories, Interactions, latest
from app.recommenders.dot import DotRanker
from app.recommenders.engines import engine_for
from app.recommenders.losses import NextItemLoss
from app.recommenders.sampling import Negatives
from app.recommenders.trained import TrainedRanker
from app.recommenders.training import Arrays, Learner, sum_over_workers, workers
from app.recommenders.transformer import Layout, Transformer

ROWS_AT_ONCE = 1024
"""Histories that are turned into states at a time."""


class SASRecLearner(Learner):
    """Adam on the next item of every position, or its weighted loss; an epoch passes once over all users.

    The loss of a batch is divided by its targets over all workers, so that more workers make the gradient of one
    (dropout apart). What is said of a user's future, generated items and preferences, is asked of the state that
    predicts the user's last item.
    """

    def __init__(self, arrays: Arrays, settings: dict[str, Any], device: torch.device) -> None:
        settings = dict(settings)
        (_, n_items), seed = settings.pop("shape"), settings.pop("seed")
        self.section, self.device = Section.model_validate(settings), device
        torch.manual_seed(seed)  # equal weights on all workers at the start
        model = Transformer(n_items, self.section).to(device)
        binary = self.section.loss == "bce"
        self.engine = engine_for(
            self.section, NextItemLoss(model, binary, self.section.preference_weight), device
        )
        self.adam = self.engine.adam
        self.batches = Batches(arrays, n_items, self.section)

    def epoch(self, rng: np.random.Generator) -> float:
        total = torch.zeros(2, dtype=torch.float64, device=self.device)
        n_workers = workers()[1]
        for batch, targets in self.batches.epoch(rng, self.device):
            loss, auxiliary = self.engine.loss(*batch)
            # Gradients are averaged over workers: times their number makes that the sum.
            self.engine.step((loss + auxiliary) * (n_workers / targets))
            total += torch.stack([loss.detach().double(), total.new_tensor(targets / n_workers)])
        sum_over_workers(total)
        return (total[0] / total[1].clamp(min=1)).item()

    def weights(self) -> Arrays:
        return self.engine.weights()

    def state(self) -> Arrays:
        return self.engine.state()

    def restore(self, state: Arrays) -> None:
        self.engine.restore(state)


class Batches:
    """Flat positions of some users at a time. What is drawn does not depend on the number of workers."""

    def __init__(self, arrays: Arrays, n_items: int, section: Section) -> None:
        self.arrays, self.section, self.n_items = arrays, section, n_items
        lengths, added = np.diff(arrays["starts"]), np.diff(arrays["added_starts"])
        parts = (arrays["weights"], arrays["indices"], arrays["indptr"])
        self.negatives = Negatives(csr_matrix(parts, shape=(len(lengths), n_items)))
        enough = (lengths > 1) | (lengths == 1) & (added > 0)
        self.users = np.flatnonzero(enough & self.negatives.possible if section.loss == "bce" else enough)
        order = np.argsort(arrays["preference_users"], kind="stable")
        self.preferences = [arrays[name][order] for name in ("preferred", "rejected", "confidences")]
        self.preference_starts = np.searchsorted(
            arrays["preference_users"][order], np.arange(len(lengths) + 1)
        )

    def epoch(self, rng: np.random.Generator, device: torch.device) -> Iterator[tuple[tuple, int]]:
        """This worker's part of each batch, as `NextItemLoss` takes it, and the batch's targets over all workers."""
        order = rng.permutation(self.users)
        for start in range(0, len(order), self.section.batch):
            users = order[start : start + self.section.batch]
            yield self._batch(users, rng, device)

    def _batch(self, users: np.ndarray, rng: np.random.Generator, device: torch.device) -> tuple[tuple, int]:
        arrays = self.arrays
        place, lengths = latest(arrays["starts"], users, self.section.max_length + 1)
        added, counts = latest(arrays["added_starts"], users)
        ends = np.cumsum(lengths)
        first, last = np.zeros((2, len(place)), bool)
        first[ends - lengths] = True
        last[ends[lengths > 1] - 1] = True  # is a target only, unless it is all that there is
        inputs = np.maximum(lengths - 1, 1)
        owners = np.repeat(np.arange(len(users)), inputs)
        # Which input's state predicts a target: the one before it; of what was added, that of the user's last item.
        places = np.concatenate(
            [np.flatnonzero((lengths > 1)[owners]), np.repeat(np.cumsum(inputs) - 1, counts)]
        )
        targets, weights = (
            np.concatenate([arrays[taken][place[~first]], arrays[more][added]])
            for taken, more in (("sequences", "added"), ("sequence_weights", "added_weights"))
        )
        negatives = self._negatives(users[owners[places]], rng)
        own = _share(lengths - 1 + counts)
        preferences = self._preferences(users[own], device)
        if not own.any():  # a batch of fewer users than workers: take part, without weight
            own[0], weights = True, np.zeros_like(weights)
        read, mine = own[owners], own[owners[places]]
        tensors = [
            torch.from_numpy(array).to(device)
            for array in (
                arrays["sequences"][place[~last]][read].astype(np.int64),
                (np.cumsum(read) - 1)[places[mine]],
                targets[mine].astype(np.int64),
                weights[mine],
                negatives[mine] if self.section.loss == "bce" else negatives,
            )
        ]
        layout = Layout.of(inputs[own], self.section.max_length, device)
        return (tensors[0], layout, *tensors[1:], preferences), len(places)

    def _negatives(self, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One for each target, or those that all targets share."""
        warm = self.negatives.warm
        if self.section.loss == "bce":
            return self.negatives.draw(users, rng)
        if self.section.loss == "full":
            return warm.astype(np.int64)
        return rng.choice(warm, min(self.section.negatives, len(warm)), replace=False).astype(np.int64)

    def _preferences(self, users: np.ndarray, device: torch.device) -> tuple[torch.Tensor, ...]:
        place, counts = latest(self.preference_starts, users)
        sequence = np.repeat(np.arange(len(users)), counts)
        parts = [sequence, *(array[place] for array in self.preferences)]
        return tuple(torch.from_numpy(part).to(device) for part in parts)


def _share(targets: np.ndarray) -> np.ndarray:
    """This worker's sequences, bool [sequences]: dealt out by their targets, so that all workers have as much to do."""
    rank, n_workers = workers()
    place = np.empty(len(targets), np.int64)
    place[np.argsort(-targets, kind="stable")] = np.arange(len(targets))
    return place % n_workers == rank


class SASRec(TrainedRanker, DotRanker):
    """Asked with the observed items, so trained on these alone as inputs: what was generated is what the last state of a
    user is to predict beside the last item.

    Behind the observed ones, as further inputs, generated items would stand at the end of every sequence in training
    and of none when it is asked: the place that asks would only ever have learnt what follows a generated item. On
    ML-1M that took almost half of its validation NDCG@10. Those that were inserted (papers 2.2) are inputs at their places.
    """

    name = "sasrec"
    learner = SASRecLearner
    section: Section
    model: Transformer

    @property
    def items(self) -> np.ndarray:
        return self.model.items.weight.detach().numpy()

    def loop_arrays(self, train: Interactions) -> Arrays:
        if train.sequence is None:
            observed = train.was_observed
            read, added, lengths = np.flatnonzero(observed), np.flatnonzero(~observed), train.observed
        else:  # what was added has its place among the observed
            read, added, lengths = train.sequence, np.zeros(0, np.int64), np.diff(train.indptr)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        return {
            "starts": starts,
            "sequences": train.items[read],
            "sequence_weights": train.weights[read],
            "added_starts": train.indptr - starts,
            "added": train.items[added],
            "added_weights": train.weights[added],
        }

    def queries(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        found = np.zeros((len(histories), self.section.dim), np.float32)
        asked = np.flatnonzero(histories.lengths)
        for start in range(0, len(asked), ROWS_AT_ONCE):
            rows = asked[start : start + ROWS_AT_ONCE]
            place, lengths = latest(histories.indptr, rows, self.section.max_length)
            layout = Layout.of(lengths, self.section.max_length, torch.device("cpu"))
            with torch.no_grad():
                states = self.model(torch.from_numpy(histories.items[place].astype(np.int64)), layout)
            found[rows] = states[layout.last].numpy()
        return found

    def arrays(self) -> Arrays:
        weights = {name: tensor.numpy() for name, tensor in self.model.state_dict().items()}
        return weights | {"warm": self.warm}

    def restore(self, arrays: Arrays) -> None:
        arrays = dict(arrays)
        self.warm = arrays.pop("warm", self.__dict__.get("warm"))
        self.model = Transformer(self.n_items, self.section).eval()
        self.model.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
