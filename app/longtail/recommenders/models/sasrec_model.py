"""SASRec (Kang, McAuley, arXiv 1808.09781): its training and its ranking. The network is in transformer.py."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix

from longtail.arrays import latest, offsets_of
from longtail.recommenders.interactions import Histories, Interactions
from longtail.recommenders.models.losses import GROUP, NextItemLoss
from longtail.recommenders.models.sasrec import SASRecSection
from longtail.recommenders.models.transformer import Layout, Transformer
from longtail.recommenders.scoring.candidate_items import NAMES
from longtail.recommenders.scoring.dot_products import DotRecommender
from longtail.recommenders.training.distributed import engine_for
from longtail.recommenders.training.sampling import Negatives
from longtail.recommenders.training.trained import MAP, TrainedRecommender
from longtail.recommenders.training.training_loop import Arrays, Learner, sum_over_workers, workers

ROWS_AT_ONCE = 1024
"""The number of histories whose states are computed at a time."""


class SASRecLearner(Learner):
    """Trains with Adam to predict the next item at each position. An epoch passes once over all users.

    The loss of a batch is divided by the number of its targets on all workers, so several workers compute the same
    gradient as one (except for dropout). Generated items and preferences are about the future of a user. So they are
    predicted from the state after the whole history: the state that is used to recommend.
    """

    def __init__(self, arrays: Arrays, settings: dict[str, Any], device: torch.device) -> None:
        settings = dict(settings)
        (_, n_items), seed = settings.pop("shape"), settings.pop("seed")
        self.section, self.device = SASRecSection.model_validate(settings), device
        torch.manual_seed(seed)  # equal weights on all workers at the start
        self.text = arrays.get("item_text")
        model = Transformer(n_items, self.section, self.text, arrays.get("item_known")).to(device)
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
            # The engine averages gradients over workers. Times the number of workers, the average is the sum.
            self.engine.step((loss + auxiliary) * (n_workers / max(targets, 1)))
            total += torch.stack([loss.detach().double(), total.new_tensor(targets / n_workers)])
        sum_over_workers(total)
        return (total[0] / total[1].clamp(min=1)).item()

    def weights(self) -> Arrays:
        """The weights of a network without texts, to whose vectors of items the mapped texts are added; and the map."""
        found = self.engine.weights()
        if self.text is not None:
            found[MAP] = np.ascontiguousarray(found.pop("items.map.weight").T)
            found["items.weight"] = found["items.weight"] + self.text @ found[MAP]
        return found

    def state(self) -> Arrays:
        return self.engine.state()

    def restore(self, state: Arrays) -> None:
        self.engine.restore(state)


class Batches:
    """Batches of users, with their sequences one after the other in flat arrays. The random draws do not depend on the
    number of workers.
    """

    def __init__(self, arrays: Arrays, n_items: int, section: SASRecSection) -> None:
        self.arrays, self.section, self.n_items = arrays, section, n_items
        lengths, asked, added = (np.diff(arrays[name]) for name in ("starts", "asked_starts", "added_starts"))
        parts = (arrays["weights"], arrays["indices"], arrays["indptr"])
        self.negatives = Negatives(csr_matrix(parts, shape=(len(lengths), n_items)))
        order = np.argsort(arrays["preference_users"], kind="stable")
        self.preferences = [arrays[name][order] for name in ("preferred", "rejected", "confidences")]
        self.preference_starts = np.searchsorted(
            arrays["preference_users"][order], np.arange(len(lengths) + 1)
        )
        self.told = (asked > 0) & ((added > 0) | (np.diff(self.preference_starts) > 0))
        """bool [users]: whether the user has generated items or preferences, and a history to predict them from."""
        enough = (lengths > 1) | self.told
        self.users = np.flatnonzero(enough & self.negatives.possible if section.loss == "bce" else enough)

    def epoch(self, rng: np.random.Generator, device: torch.device) -> Iterator[tuple[tuple, int]]:
        """This worker's part of each batch, as `NextItemLoss` takes it, and the number of targets on all workers."""
        order = rng.permutation(self.users)
        for start in range(0, len(order), self.section.batch):
            users = order[start : start + self.section.batch]
            yield self._batch(users, rng, device)

    def _batch(self, users: np.ndarray, rng: np.random.Generator, device: torch.device) -> tuple[tuple, int]:
        """One batch, with two kinds of sequences.

        First, for each user all items except the last, to predict the next item of each. Then, for the users in `told`,
        the whole history, to predict their generated items and preferences.
        """
        arrays, most = self.arrays, self.section.max_length
        place, lengths = latest(arrays["starts"], users, most + 1)
        ends = np.cumsum(lengths)
        first, last = np.zeros((2, len(place)), bool)
        first[ends - lengths] = last[ends - 1] = True
        told = np.flatnonzero(self.told[users])
        whole, whole_lengths = latest(arrays["asked_starts"], users[told], most)
        added, counts = latest(arrays["added_starts"], users[told])
        # Of each sequence, in the order of the flat arrays: its user, as an index in `users`, and its length.
        owners = np.concatenate([np.arange(len(users)), told])
        inputs = np.concatenate([lengths - 1, whole_lengths])
        states = np.cumsum(inputs)[len(users) :] - 1  # the last state of each whole history
        places = np.concatenate([np.arange(np.sum(lengths - 1)), np.repeat(states, counts)])
        targets, weights = (
            np.concatenate([arrays[taken][place[~first]], arrays[more][added]])
            for taken, more in (("sequences", "added"), ("sequence_weights", "added_weights"))
        )
        predicting = np.repeat(owners, inputs)  # the user of each input
        negatives = self._negatives(users[predicting[places]], rng)
        own = _share(np.bincount(owners, inputs, len(users)))
        heard = own[told]
        if not own.any():  # fewer users than workers: this worker takes one, with weight 0
            own[0], weights = True, np.zeros_like(weights)
        read, mine = own[predicting], own[predicting[places]]
        moved = np.cumsum(read) - 1  # index of an input of the whole batch among this worker's inputs
        items = np.concatenate([arrays["sequences"][place[~last]], arrays["asked"][whole]])
        tensors = [
            torch.from_numpy(array).to(device)
            for array in (
                items[read].astype(np.int64),
                moved[places[mine]],
                targets[mine].astype(np.int64),
                weights[mine],
                negatives[mine] if self.section.loss == "bce" else negatives,
                np.flatnonzero(mine),
            )
        ]
        layout = Layout.of(inputs[own[owners] & (inputs > 0)], most, device)
        preferences = self._preferences(users[told[heard]], moved[states[heard]], device)
        return (tensors[0], layout, *tensors[1:], preferences), len(places)

    def _negatives(self, users: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Negatives int64: one for each target, of `users` [n] (`bce`), those of each group of targets [groups, K]
        (`sampled`), or all items that have an interaction. These are taken too if a sample would be no smaller.
        """
        warm, many = self.negatives.warm.astype(np.int64), self.section.negatives
        if self.section.loss == "bce":
            return self.negatives.draw(users, rng)
        if self.section.loss == "full" or many >= len(warm):
            return warm
        return warm[rng.integers(len(warm), size=(-(-len(users) // GROUP), many))]

    def _preferences(
        self, users: np.ndarray, states: np.ndarray, device: torch.device
    ) -> tuple[torch.Tensor, ...]:
        """The preferences of `users`, as `NextItemLoss` takes them. `states`: the index of the last state of each user."""
        place, counts = latest(self.preference_starts, users)
        parts = [np.repeat(states, counts), *(array[place] for array in self.preferences)]
        return tuple(torch.from_numpy(part).to(device) for part in parts)


def _share(targets: np.ndarray) -> np.ndarray:
    """bool [n]: whether this worker takes each user. `targets` [n]: the length of the inputs of each user.

    The users are assigned in descending order of length, so that all workers have about the same work.
    """
    rank, n_workers = workers()
    place = np.empty(len(targets), np.int64)
    place[np.argsort(-targets, kind="stable")] = np.arange(len(targets))
    return place % n_workers == rank


class SASRec(TrainedRecommender, DotRecommender):
    """SASRec recommends from the observed items, so in training too only observed items are inputs. Generated items are
    targets: the state after the whole history, which is used to recommend, learns to predict them.

    This state needs a separate sequence. If it were the end of the sequence that learns the next items, the last
    position would learn to predict generated items only, and no observed next item. Generated items must not be inputs
    either: then the last position would learn only what follows a generated item. On ML-1M this lost almost half of the
    validation NDCG@10. Inserted items (Llama4Rec, arXiv 2401.13870, sequential scenario) are the exception: they are
    inputs at their positions.
    """

    learner = SASRecLearner
    section: SASRecSection
    model: Transformer

    @property
    def items(self) -> np.ndarray:
        return self.model.items.weight.detach().numpy()

    def loop_arrays(self, train: Interactions) -> Arrays:
        """Flat items of all users: `sequences` are the inputs and targets of next-item training, `asked` the histories
        that are used to recommend, `added` the generated items to predict from these histories.
        """
        observed = train.was_observed
        read, added, lengths = np.flatnonzero(observed), np.flatnonzero(~observed), train.observed
        asked = Histories.observed(train)
        if train.sequence is not None:  # inserted items have a position among the observed
            read, added, lengths = train.sequence, added[:0], np.diff(train.indptr)
        starts = offsets_of(lengths)
        return {
            "starts": starts,
            "sequences": train.items[read],
            "sequence_weights": train.weights[read],
            "asked_starts": asked.indptr,
            "asked": asked.items,
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
        return weights | self.candidates.arrays()

    def item_tables(self) -> list[np.ndarray]:
        return [self.items]

    def restore(self, arrays: Arrays) -> None:
        self.restore_candidates(arrays)
        arrays = {name: array for name, array in arrays.items() if name not in (*NAMES, MAP)}
        self.model = Transformer(self.n_items, self.section).eval()
        self.model.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
