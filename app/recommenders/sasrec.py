"""SASRec (Kang, McAuley, arXiv 1808.09781): a causal transformer predicts a user's next item."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix

from app.recipe import SASRec as Section
from app.recommenders.base import Histories, Interactions
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

    The loss of a batch is divided by its positions over all workers, so that more workers make the gradient of one
    (dropout apart). A user's preferences are asked of the state that predicts the user's last item.
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
        for batch, positions in self.batches.epoch(rng, self.device):
            loss, auxiliary = self.engine.loss(*batch)
            # Gradients are averaged over workers: times their number makes that the sum.
            self.engine.step((loss + auxiliary) * (n_workers / positions))
            total += torch.stack([loss.detach().double(), total.new_tensor(positions / n_workers)])
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
        n_users = len(arrays["starts"]) - 1
        parts = (arrays["weights"], arrays["indices"], arrays["indptr"])
        self.negatives = Negatives(csr_matrix(parts, shape=(n_users, n_items)))
        enough = np.diff(arrays["starts"]) > 1
        self.users = np.flatnonzero(enough & self.negatives.possible if section.loss == "bce" else enough)
        order = np.argsort(arrays["preference_users"], kind="stable")
        self.preferences = [arrays[name][order] for name in ("preferred", "rejected", "confidences")]
        self.preference_starts = np.searchsorted(arrays["preference_users"][order], np.arange(n_users + 1))

    def epoch(self, rng: np.random.Generator, device: torch.device) -> Iterator[tuple[tuple, int]]:
        """This worker's part of each batch, as `NextItemLoss` takes it, and the batch's positions over all workers."""
        order = rng.permutation(self.users)
        for start in range(0, len(order), self.section.batch):
            users = order[start : start + self.section.batch]
            place, lengths = latest(self.arrays["starts"], users, self.section.max_length + 1)
            lengths = lengths - 1  # the last item is a target only
            own = _share(lengths)
            last = np.zeros(len(place), bool)
            last[np.cumsum(lengths + 1) - 1] = True
            first = np.roll(last, 1)
            inputs, targets = place[~last], place[~first]
            owners = np.repeat(np.arange(len(users)), lengths)
            negatives = self._negatives(users[owners], rng)
            mine = own[owners]
            if not mine.any():  # a batch of fewer users than workers: take part, without weight
                own[0], mine = True, owners == 0
                weights = np.zeros(mine.sum(), np.float32)
            else:
                weights = self.arrays["sequence_weights"][targets[mine]]
            sequences = self.arrays["sequences"]
            tensors = [
                torch.from_numpy(array).to(device)
                for array in (
                    sequences[inputs[mine]].astype(np.int64),
                    sequences[targets[mine]].astype(np.int64),
                    weights,
                    negatives[mine] if self.section.loss == "bce" else negatives,
                )
            ]
            layout = Layout.of(lengths[own], self.section.max_length, device)
            preferences = self._preferences(users[own], device)
            yield (tensors[0], layout, *tensors[1:], preferences), int(lengths.sum())

    def _negatives(self, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One for each position, or those that all positions share."""
        warm = self.negatives.warm
        if self.section.loss == "bce":
            return self.negatives.draw(users, rng)
        if self.section.loss == "full":
            return warm.astype(np.int64)
        return rng.choice(warm, min(self.section.negatives, len(warm)), replace=False).astype(np.int64)

    def _preferences(self, users: np.ndarray, device: torch.device) -> tuple[torch.Tensor, ...]:
        starts = self.preference_starts
        counts = starts[users + 1] - starts[users]
        offsets = np.cumsum(counts) - counts
        place = np.arange(counts.sum()) + np.repeat(starts[users] - offsets, counts)
        sequence = np.repeat(np.arange(len(users)), counts)
        parts = [sequence, *(array[place] for array in self.preferences)]
        return tuple(torch.from_numpy(part).to(device) for part in parts)


def _share(lengths: np.ndarray) -> np.ndarray:
    """This worker's sequences, bool [sequences]: dealt out by length, so that all workers have as much to do."""
    rank, n_workers = workers()
    place = np.empty(len(lengths), np.int64)
    place[np.argsort(-lengths, kind="stable")] = np.arange(len(lengths))
    return place % n_workers == rank


def latest(starts: np.ndarray, rows: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the last `length` entries of some rows of a ragged array lie, one row behind the other: places int64 [n],
    and how many each row has [rows].
    """
    ends = starts[1:][rows]
    lengths = np.minimum(ends - starts[:-1][rows], length)
    offsets = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(ends - lengths - offsets, lengths), lengths


class SASRec(TrainedRanker, DotRanker):
    """Trained on the observed items followed by the generated ones; asked with the observed ones alone."""

    name = "sasrec"
    learner = SASRecLearner
    section: Section
    model: Transformer

    @property
    def items(self) -> np.ndarray:
        return self.model.items.weight.detach().numpy()

    def loop_arrays(self, train: Interactions) -> Arrays:
        order = slice(None) if train.sequence is None else train.sequence
        return {
            "starts": train.indptr,
            "sequences": train.items[order],
            "sequence_weights": train.weights[order],
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
