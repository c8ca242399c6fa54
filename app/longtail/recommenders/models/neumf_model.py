"""NeuMF (He et al., arXiv 1708.05031): its network, its training and its ranking."""

from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix, diags_array
from torch import nn
from torch.nn import functional

from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.neumf import NeuMFSection
from longtail.recommenders.models.text_embedding import TextEmbedding
from longtail.recommenders.scoring.candidate_items import NAMES
from longtail.recommenders.training.sampling import Batches
from longtail.recommenders.training.trained import MAP, TrainedRecommender
from longtail.recommenders.training.training_loop import Arrays, Learner, sum_over_workers, workers

ACTIVATIONS_AT_ONCE = 2**22
"""The number of floats of one hidden layer that are in memory at a time during ranking: 16 MiB."""


class Network(nn.Module):
    """Computes the logit of a user and an item (equation 12).

    A vector of a user or an item has first the `dim` columns of the factorisation, then those of the perceptron. text: the
    vectors of the items' texts, float32 [n_items, d], or None.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        settings: dict[str, Any],
        text: np.ndarray | None = None,
        known: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.dim, widths = settings["dim"], settings["hidden"]
        width = self.dim + widths[0] // 2
        self.users = nn.Embedding(shape[0], width)
        self.items = nn.Embedding(shape[1], width) if text is None else TextEmbedding(width, text, known)
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths, widths[1:], strict=False))
        self.out = nn.Linear(self.dim + widths[-1], 1)
        self.dropout = nn.Dropout(settings["dropout"])
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.01)  # as in the authors' code
        if text is not None:
            self.items.start_map()

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        """The logits [...] of vectors [..., width] of users and items, which are broadcast.

        The first layer is linear in both halves of its input. So its user half is computed once per user and its item
        half once per item, not once per pair.
        """
        first, *others = self.hidden
        (of_user, asked), (of_item, offered) = (
            vectors.split([self.dim, first.in_features // 2], -1) for vectors in (users, items)
        )
        for_user, for_item = first.weight.chunk(2, 1)
        state = functional.linear(asked, for_user, first.bias) + functional.linear(offered, for_item)
        state = self.dropout(functional.relu(state))
        for layer in others:
            state = self.dropout(functional.relu(layer(state)))
        of_product, of_state = self.out.weight.split([self.dim, state.shape[-1]], 1)
        product = torch.einsum("...d,...d->...", of_user * of_product[0], of_item)
        return product + functional.linear(state, of_state, self.out.bias)[..., 0]


class NeuMFLearner(Learner):
    """Trains with Adam on binary cross-entropy. The loss of a batch is the sum of these parts, divided by the batch size:

    - r_ui (softplus(-y_ui) + sum over n uniform negatives j of softplus(y_uj)) for each interaction;
    - the pairwise loss of the preferences;
    - l2 / 2 times the squared vectors that were looked up.

    Each worker takes a part of each batch, and the gradients are summed.
    """

    def __init__(self, arrays: Arrays, settings: dict[str, Any], device: torch.device) -> None:
        self.batches, self.settings, self.device = Batches(arrays, settings), settings, device
        torch.manual_seed(settings["seed"])  # equal weights on all workers at the start
        self.text = arrays.get("item_text")
        self.network = Network(settings["shape"], settings, self.text, arrays.get("item_known")).to(device)
        self.adam = torch.optim.Adam(self.network.parameters(), lr=settings["lr"], fused=True)

    def epoch(self, rng: np.random.Generator) -> float:
        total, negatives = (
            torch.zeros((), dtype=torch.float64, device=self.device),
            self.settings["negatives"],
        )
        rank, n_workers = workers()
        self.network.train()
        for batch in self.batches.epoch(rng):
            drawn = self.batches.negatives.draw(np.repeat(batch.users[: batch.size], negatives), rng)
            main, rest = slice(rank, batch.size, n_workers), slice(batch.size + rank, None, n_workers)
            pointwise = (batch.users[main], batch.preferred[main], drawn.reshape(-1, negatives)[main])
            pairwise = (batch.users[rest], batch.preferred[rest], batch.rejected[rank::n_workers])
            loss = self.loss(pointwise, batch.weights[main], False) + self.loss(
                pairwise, batch.weights[rest], True
            )
            total += self.descend(loss, batch.divisor)
        return sum_over_workers(total).item() / self.batches.divisor

    def loss(self, parts: tuple[np.ndarray, ...], weights: np.ndarray, pairwise: bool) -> torch.Tensor:
        """float32 [2]: the weighted sum of the losses, and the sum of the squared vectors.

        parts: users [n], preferred [n], and rejected [n] if `pairwise`, if not [n, negatives]; weights [n].
        """
        users, preferred, rejected = (torch.from_numpy(part).to(self.device) for part in parts)
        asked, liked, other = (
            self.network.users(users),
            self.network.items(preferred),
            self.network.items(rejected),
        )
        high = self.network(asked, liked)
        low = self.network(asked if pairwise else asked[:, None], other)
        each = (
            functional.softplus(low - high)
            if pairwise
            else functional.softplus(-high) + functional.softplus(low).sum(1)
        )
        squares = sum(vectors.square().sum() for vectors in (asked, liked, other))
        return torch.stack([(torch.from_numpy(weights).to(self.device) * each).sum(), squares])

    def descend(self, loss: torch.Tensor, divisor: int) -> torch.Tensor:
        self.adam.zero_grad()
        ((loss[0] + self.settings["l2"] / 2 * loss[1]) / divisor).backward()
        gradients = [parameter.grad for parameter in self.network.parameters()]
        together = sum_over_workers(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, part in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
        self.adam.step()
        return loss[0].detach()

    def weights(self) -> Arrays:
        """The weights of a network without texts, to whose vectors of items the mapped texts are added; the map; and
        `folds`: for each item the weighted mean of the vectors of its users.
        """
        found = {name: tensor.cpu().numpy().copy() for name, tensor in self.network.state_dict().items()}
        if self.text is not None:
            found[MAP] = np.ascontiguousarray(found.pop("items.map.weight").T)
            found["items.weight"] = found["items.weight"] + self.text @ found[MAP]
        by_item = self.batches.ratings.T
        totals = np.maximum(np.asarray(by_item.sum(axis=1)).ravel(), np.finfo(np.float32).tiny)
        return found | {
            "folds": (diags_array(1 / totals) @ by_item @ found["users.weight"]).astype(np.float32)
        }

    def state(self) -> Arrays:
        parts = {f"network/{name}": tensor for name, tensor in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for what, tensor in self.adam.state[parameter].items():
                parts[f"{what}/{name}"] = tensor
        return {name: tensor.cpu().numpy().copy() for name, tensor in parts.items()}

    def restore(self, state: Arrays) -> None:
        kept: dict[str, dict[str, torch.Tensor]] = {}
        for place, array in state.items():
            what, _, name = place.partition("/")
            kept.setdefault(name, {})[what] = torch.tensor(array).to(self.device)
        self.network.load_state_dict({name: parts.pop("network") for name, parts in kept.items()})
        for name, parameter in self.network.named_parameters():
            self.adam.state[parameter] = kept[name]


class NeuMF(TrainedRecommender):
    """A user of the training set keeps the vector learnt in the fit, also if the history in the request is different.

    The vector of another user (one outside the training set, or without observed items in it) is computed from the
    history: the mean of `folds`, the mean vectors of the users of each item. The vectors of the items cannot be used
    instead, because in the perceptron users and items have different embedding spaces.
    """

    learner = NeuMFLearner
    section: NeuMFSection
    network: Network
    folds: np.ndarray
    """float32 [items, width]."""

    def score(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        asked = torch.from_numpy(self._vectors(histories, users))
        scores = np.empty((len(asked), self.n_items), np.float32)
        step = max(1, ACTIVATIONS_AT_ONCE // (self.n_items * max(self.section.hidden)))
        with torch.no_grad():
            for start in range(0, len(asked), step):
                rows = slice(start, start + step)
                scores[rows] = self.network(asked[rows, None], self.network.items.weight).numpy()
        self.candidates.ranked(scores)
        scores[histories.lengths == 0] = -np.inf
        return scores

    @property
    def item_vectors(self) -> np.ndarray:
        return self.network.items.weight.detach().numpy()

    def _vectors(self, histories: Histories, users: np.ndarray | None) -> np.ndarray:
        """float32 [rows, width]."""
        kept = self.network.users.weight.detach().numpy()
        return self.kept_or_folded(kept, self._folded, histories, users)

    def _folded(self, histories: Histories) -> np.ndarray:
        """float32 [rows, width]."""
        taken: csr_matrix = histories.matrix(np.ones(len(histories.items), np.float32), self.n_items)
        return taken @ self.folds / np.maximum(taken.sum(axis=1), 1).reshape(-1, 1)

    def arrays(self) -> Arrays:
        weights = {name: tensor.numpy() for name, tensor in self.network.state_dict().items()}
        return weights | {"folds": self.folds} | self.candidates.arrays()

    def item_tables(self) -> list[np.ndarray]:
        self.folds = self.folds.copy()  # those of a Ray worker are read-only
        return [self.item_vectors, self.folds]

    def restore(self, arrays: Arrays) -> None:
        self.restore_candidates(arrays)
        arrays = {name: array for name, array in arrays.items() if name not in (*NAMES, MAP)}
        self.folds = arrays.pop("folds")
        shape = (len(arrays["users.weight"]), self.n_items)
        self.network = Network(shape, self.section.model_dump()).eval()
        self.network.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
