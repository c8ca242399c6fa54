"""The model of MixGCF (Huang et al., KDD 2021, doi 10.1145/3447548.3467408): negatives mixed from several candidates."""

from typing import Any

import numpy as np
import torch

from longtail.recommenders.models.factors import Factors, FactorsLearner
from longtail.recommenders.models.mixgcf import MixGCFSection
from longtail.recommenders.training.sampling import Batch
from longtail.recommenders.training.training_loop import Arrays


class MixGCFLearner(FactorsLearner):
    """BPR with synthetic negatives: each is mixed from the embeddings of several items.

    Positive mixing (equation 6): e'_k = a_k e_k(positive) + (1 - a_k) e_k(candidate), with a_k uniform in [0, 1), for
    each layer k. Hop mixing (equations 7 and 8): each layer chooses the candidate whose e'_k has the largest inner
    product with the final embedding of the user. The negative is the mean over the layers. All candidates of a layer
    share a_k, so the same candidate has the largest inner product before mixing. Therefore only the chosen candidates
    are mixed.

    In addition to the score differences, layers + 1 inner products per candidate are summed over workers.
    """

    def __init__(self, arrays: Arrays, settings: dict[str, Any], device: torch.device) -> None:
        super().__init__(arrays, settings, device)
        self.candidates = settings["negatives"]

    def learn(self, batch: Batch, rng: np.random.Generator) -> torch.Tensor:
        n_layers = self.propagation.layers + 1
        drawn = self.batches.negatives.draw(np.repeat(batch.users[: batch.size], self.candidates), rng)
        shares = torch.from_numpy(rng.random((n_layers, batch.size, 1), np.float32)).to(self.device)
        items = (batch.preferred, batch.rejected, drawn)
        nodes, (users, preferred, rejected, candidates) = self.compact(
            batch.users, *(part + self.n_users for part in items)
        )
        layers = self.propagation.at(self.embeddings, nodes).requires_grad_()
        final = layers.mean(0)
        asked = final.index_select(0, users)
        chosen = self.hardest(layers.detach(), asked[: batch.size].detach(), candidates)
        mixed = [
            share * layer.index_select(0, preferred[: batch.size])
            + (1 - share) * layer.index_select(0, choice)
            for layer, share, choice in zip(layers, shares, chosen, strict=True)
        ]
        negative = torch.cat([sum(mixed) / n_layers, final.index_select(0, rejected)])
        loss = self.pairwise((asked * (final.index_select(0, preferred) - negative)).sum(1), batch)
        regularised = torch.cat([users, preferred, rejected, chosen[0]])
        self.back(layers.grad, nodes, regularised, batch.divisor)
        return loss

    def hardest(self, layers: torch.Tensor, asked: torch.Tensor, candidates: torch.Tensor) -> torch.Tensor:
        """The candidate that each layer chooses for each user: int64 [layers + 1, n].

        layers [layers + 1, nodes, d]; asked [n, d]: the final embeddings of the users; candidates int64 [n x negatives].
        """
        candidates = candidates.view(len(asked), self.candidates)
        scores = [(layer[candidates] @ asked[:, :, None])[:, :, 0] for layer in layers]
        best = self.summed(torch.stack(scores)).argmax(2)
        return torch.stack([candidates.gather(1, choice[:, None])[:, 0] for choice in best])


class MixGCF(Factors):
    learner = MixGCFLearner
    section: MixGCFSection
