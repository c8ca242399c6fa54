"""A learner without the model around it, for tests that look at a single step."""

import numpy as np
import torch

from longtail.recommenders import build
from longtail.recommenders.interactions import Interactions, Preferences
from longtail.recommenders.trained_section import TrainedSection
from longtail.recommenders.training.training_loop import Learner

CPU = torch.device("cpu")


def learner(
    name: str, section: TrainedSection, train: Interactions, preferences: Preferences | None = None
) -> Learner:
    """As `TrainedRecommender` would make it, with seed 1."""
    preferences = preferences or Preferences.none()
    taken = train.matrix
    arrays = {
        "indptr": taken.indptr.astype(np.int64),
        "indices": taken.indices.astype(np.int64),
        "weights": taken.data,
        "preference_users": preferences.users.astype(np.int64),
        "preferred": preferences.preferred.astype(np.int64),
        "rejected": preferences.rejected.astype(np.int64),
        "confidences": preferences.confidences,
    }
    settings = section.model_dump() | {"seed": 1, "shape": taken.shape}
    return build(name, section).learner(arrays, settings, CPU)


def cold_preferences(users: int = 60, preferred: int = 22, rejected: int = 23) -> Preferences:
    """Every user prefers one item to another; in `clusters` nobody took either."""
    everybody = np.arange(users, dtype=np.int32)
    items = np.ones(users, np.int32)
    return Preferences(everybody, items * preferred, items * rejected, np.full(users, 0.8, np.float32))


def dense(ratings: np.ndarray) -> np.ndarray:
    """The normalised bipartite graph, written out."""
    users, items = ratings.shape
    adjacency = np.block([[np.zeros((users, users)), ratings], [ratings.T, np.zeros((items, items))]])
    scale = np.where(adjacency.sum(1) > 0, np.maximum(adjacency.sum(1), 1e-30) ** -0.5, 0)
    return scale[:, None] * adjacency * scale


def every_layer(graph: np.ndarray, embeddings: torch.Tensor, layers: int) -> torch.Tensor:
    """[layers + 1, nodes, d], differentiable."""
    graph, found = torch.tensor(graph, dtype=torch.float32), [embeddings]
    for _ in range(layers):
        found.append(graph @ found[-1])
    return torch.stack(found)
