"""The model of SGL (Wu et al., arXiv 2010.10783): a contrastive loss between two views of the graph, with edge dropout."""

from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch.nn import functional

from longtail.arrays import rows_of
from longtail.recommenders.models.factors import Factors, FactorsLearner
from longtail.recommenders.models.propagation import Propagation
from longtail.recommenders.models.sgl import SGLSection
from longtail.recommenders.training.sampling import Batch
from longtail.recommenders.training.training_loop import Arrays


class SGLLearner(FactorsLearner):
    """BPR + lambda (InfoNCE of the users of the batch + InfoNCE of its positive items), each user and item once.

    Two new views are drawn for each epoch. Each leaves out a random share `dropout` of the edges (equation 8).
    """

    def __init__(self, arrays: Arrays, settings: dict[str, Any], device: torch.device) -> None:
        super().__init__(arrays, settings, device)
        self.contrast_weight, self.temperature = settings["contrast_weight"], settings["temperature"]
        self.dropout = settings["dropout"]

    def epoch(self, rng: np.random.Generator) -> float:
        ratings, layers = self.batches.ratings, self.propagation.layers
        self.views = [
            Propagation(without_edges(ratings, self.dropout, rng), layers, self.device) for _ in range(2)
        ]
        return super().epoch(rng)

    def learn(self, batch: Batch, rng: np.random.Generator) -> torch.Tensor:
        loss = super().learn(batch, rng)
        if batch.size and self.contrast_weight:
            self.contrast(batch)
        return loss

    def contrast(self, batch: Batch) -> None:
        """Add the contrastive loss to the gradient."""
        users = np.unique(batch.users[: batch.size])
        nodes = np.concatenate([users, np.unique(batch.preferred[: batch.size]) + self.n_users])
        sides = [view.at(self.embeddings, nodes).requires_grad_() for view in self.views]
        parts = zip(
            *(side.mean(0).split([len(users), len(nodes) - len(users)]) for side in sides), strict=True
        )
        loss = sum(info_nce(one, other, self.temperature) for one, other in parts)
        (self.contrast_weight * loss).backward()
        for view, side in zip(self.views, sides, strict=True):
            self.embeddings.grad += view.back(side.grad, nodes, self.embeddings)


def info_nce(one: torch.Tensor, other: torch.Tensor, temperature: float) -> torch.Tensor:
    """The mean over n of -ln (exp(s_nn / temperature) / sum_m exp(s_nm / temperature)), with s the cosines between the
    two views [n, d] (equation 10).
    """
    cosines = functional.normalize(one, dim=1) @ functional.normalize(other, dim=1).T
    return functional.cross_entropy(cosines / temperature, torch.arange(len(one), device=one.device))


def without_edges(ratings: csr_matrix, share: float, rng: np.random.Generator) -> csr_matrix:
    """`ratings` without this share of its entries, which are drawn uniformly."""
    kept = rng.permutation(ratings.nnz) >= round(share * ratings.nnz)
    rows = rows_of(np.diff(ratings.indptr))
    cells = (rows[kept], ratings.indices[kept])
    return csr_matrix((ratings.data[kept], cells), shape=ratings.shape)


class SGL(Factors):
    """LightGCN with a contrastive loss. At most one worker trains it.

    Cosines are not linear in the columns of the embeddings. With split columns, the workers would have to exchange the
    similarities of a batch: batch x batch floats per step.
    """

    learner = SGLLearner
    section: SGLSection

    def most_workers(self) -> int:
        return min(self.compute.workers, 1)
