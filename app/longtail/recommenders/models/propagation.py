"""LightGCN's propagation (arXiv 2002.02126, equation 7), computed only for the nodes that a step needs.

A layer is one product of the normalised graph and all embeddings. A step needs only the nodes of its batch. So the last
layer is computed only for these nodes, and the first product of the backward pass uses only these nodes. A step with K
layers has 2 K products; 2 of them use only the edges of the batch (17 % of the edges of Gowalla with a batch of 2048).

Measured on one core (Gowalla, 1.6 million directed edges, 64 columns): torch's CSR product (MKL) takes 10-13 ms into a
buffer that is reused, and 13-27 ms into new memory; a numba loop takes 12-15 ms. PyG's LGConv makes one message per edge
and normalises again in each call, see jobs/benchmarks/lightgcn.py.
"""

import warnings

import numba
import numpy as np
import torch
from scipy.sparse import bmat, csr_matrix, diags_array


class Propagation:
    """Computes Â^k e for k = 0..layers, with Â = D^-1/2 A D^-1/2. The nodes are the users, then the items.

    The edges have the interaction weights, and the degrees are sums of these weights. Â is symmetric, so the backward
    pass also multiplies by Â. `back` reuses its buffers: its result is valid only until the next call of `at` or `back`.
    """

    def __init__(self, ratings: csr_matrix, layers: int, device: torch.device) -> None:
        self.layers, self.on_cpu = layers, device.type == "cpu"
        by_user, by_item = (_power(np.asarray(ratings.sum(axis=axis)).ravel()) for axis in (1, 0))
        self.scales = torch.from_numpy(np.concatenate([by_user, by_item]).astype(np.float32)).to(device)
        """D^-1/2, float32 [nodes]."""
        normalised = diags_array(by_user) @ ratings @ diags_array(by_item)
        self.graph = bmat([[None, normalised], [normalised.T, None]], format="csr", dtype=np.float32)
        self.graph.sort_indices()
        self.whole = _tensor(self.graph, device)
        self.buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    def everywhere(self, embeddings: torch.Tensor) -> list[torch.Tensor]:
        """All layers of all nodes: layers + 1 tensors [nodes, d]. The first is `embeddings` itself, the others are new."""
        found = [embeddings]
        for _ in range(self.layers):
            found.append(self.whole @ found[-1])
        return found

    def at(self, embeddings: torch.Tensor, nodes: np.ndarray) -> torch.Tensor:
        """All layers of some nodes: a new tensor [layers + 1, len(nodes), d]. `nodes` int64 must have no duplicates."""
        rows = torch.from_numpy(nodes).to(embeddings.device)
        found = embeddings.new_empty(self.layers + 1, len(nodes), embeddings.shape[1])
        layer = embeddings
        for k in range(self.layers):
            found[k] = layer[rows]
            if k == self.layers - 1 and self.on_cpu:
                graph = self.graph
                _gather(graph.indptr, graph.indices, graph.data, nodes, layer.numpy(), found[-1].numpy())
                return found
            layer = self._product(layer, self._buffers(embeddings)[k % 2])
        found[-1] = layer[rows]
        return found

    def back(self, gradients: torch.Tensor, nodes: np.ndarray, like: torch.Tensor) -> torch.Tensor:
        """The gradient of the embeddings, g_0 + Â (g_1 + Â (g_2 + ...)): [nodes, d], as `like`.

        `gradients` [layers + 1, len(nodes), d] is the gradient g of the result of `at`.
        """
        rows = torch.from_numpy(nodes).to(like.device)
        total, spare = self._buffers(like)
        total.zero_()
        if self.layers and self.on_cpu:
            graph, last = self.graph, gradients[-1].contiguous().numpy()
            _scatter(graph.indptr, graph.indices, graph.data, nodes, last, total.numpy())
            total.index_add_(0, rows, gradients[-2])
            done = self.layers - 1
        else:
            total[rows] = gradients[-1]
            done = self.layers
        for k in range(done - 1, -1, -1):
            total, spare = self._product(total, spare), total
            total.index_add_(0, rows, gradients[k])
        return total

    def _product(self, layer: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        return torch.addmm(out, self.whole, layer, beta=0, out=out)

    def _buffers(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.buffers is None:
            self.buffers = torch.zeros_like(like), torch.zeros_like(like)
        return self.buffers


def _power(degrees: np.ndarray) -> np.ndarray:
    """degrees^-1/2, and 0 for a degree of 0."""
    return np.where(degrees > 0, np.maximum(degrees, np.finfo(np.float32).tiny) ** -0.5, 0)


def _tensor(matrix: csr_matrix, device: torch.device) -> torch.Tensor:
    parts = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(*parts, matrix.shape, check_invariants=True).to(device)


@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _gather(
    indptr: np.ndarray,
    indices: np.ndarray,
    values: np.ndarray,
    rows: np.ndarray,
    layer: np.ndarray,
    out: np.ndarray,
) -> None:
    """out[b] = sum_j values[rows[b], j] layer[j]."""
    for b in range(len(rows)):
        own = out[b]
        own[:] = 0
        for edge in range(indptr[rows[b]], indptr[rows[b] + 1]):
            value, other = values[edge], layer[indices[edge]]
            for column in range(layer.shape[1]):
                own[column] += value * other[column]


@numba.njit(nogil=True, cache=True, fastmath={"contract"})
def _scatter(
    indptr: np.ndarray,
    indices: np.ndarray,
    values: np.ndarray,
    rows: np.ndarray,
    gradient: np.ndarray,
    out: np.ndarray,
) -> None:
    """out[j] += sum_b values[rows[b], j] gradient[b]."""
    for b in range(len(rows)):
        own = gradient[b]
        for edge in range(indptr[rows[b]], indptr[rows[b] + 1]):
            value, other = values[edge], out[indices[edge]]
            for column in range(out.shape[1]):
                other[column] += value * own[column]
