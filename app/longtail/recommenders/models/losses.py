"""The losses of SASRec: predict the next item at each position, weighted by the interaction weight of that item."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from longtail.recommenders.models.transformer import Layout, Transformer

LOGITS_AT_ONCE = 2**22
"""The number of logits that are in memory at a time (16 MiB of float32), for a catalogue of any size."""
GROUP = 16
"""The number of targets that share their sampled negatives. If all targets of a batch shared them, a step would learn about
few items: on Amazon Beauty that takes several times as many epochs."""


class NextItemLoss(nn.Module):
    """The sum over targets of weight x loss, and over preferences of confidence x softplus(y_rejected - y_preferred).

    The loss is binary cross-entropy with one negative per target (`bce`: arXiv 1808.09781, equation 7), or the cross-entropy
    of the target against negatives that all targets share (`full`) or that each group of targets has of its own (`sampled`).
    """

    def __init__(self, model: Transformer, binary: bool, preference_weight: float) -> None:
        super().__init__()
        self.model, self.binary, self.preference_weight = model, binary, preference_weight

    def forward(
        self,
        items: torch.Tensor,
        layout: Layout,
        places: torch.Tensor,
        targets: torch.Tensor,
        weights: torch.Tensor,
        negatives: torch.Tensor,
        cells: torch.Tensor,
        preferences: tuple[torch.Tensor, ...],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The two sums: the loss of the targets, and the loss of the preferences times `preference_weight`.

        items [N]: the inputs. targets and weights [T]; places [T]: the index in `items` of the state that predicts each
        target. negatives [T] if `binary`, if not [K], or [groups, K] with the `cells` [T] of the targets, see
        `sampled_loss`. preferences: four tensors [P], the index of the state that predicts the preference, the preferred
        item, the rejected item and the confidence.
        """
        every = self.model(items, layout)
        states = every.index_select(0, places)
        if self.binary:
            # One look-up for both, because each look-up makes a gradient as large as the whole embedding.
            targets_then_negatives = self.model.items(torch.cat([targets, negatives]))
            both = targets_then_negatives.unflatten(0, (2, len(targets)))
            positive, negative = (states * both).sum(-1)
            loss = (weights * (functional.softplus(-positive) + functional.softplus(negative))).sum()
        elif negatives.dim() == 1:
            loss = softmax_loss(states, targets, weights, negatives, self.model.items)
        else:
            loss = sampled_loss(states, targets, weights, negatives, cells, self.model.items)
        asked, preferred, rejected, confidence = preferences
        auxiliary = loss.new_zeros(())
        if len(asked):
            asked = every.index_select(0, asked)
            margin = (asked * (self.model.items(preferred) - self.model.items(rejected))).sum(-1)
            auxiliary = self.preference_weight * (confidence * functional.softplus(-margin)).sum()
        return loss, auxiliary


def softmax_loss(
    states: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    negatives: torch.Tensor,
    items: nn.Embedding,
) -> torch.Tensor:
    """sum_n weights_n (logsumexp over {target} and negatives - y_target), differentiable in states and embeddings.

    negatives [K]: all positions share them, and none is there twice. If the target of a position is one of them, it counts
    once.
    """
    column = torch.full((items.num_embeddings,), -1, device=targets.device)
    column[negatives] = torch.arange(len(negatives), device=targets.device)
    column = column[targets]
    position = torch.nonzero(column >= 0).flatten()
    met = torch.stack([torch.zeros_like(position), position, column[position]])
    parts = (part[None] for part in (states, items(targets), items(negatives), weights))
    return _Softmax.apply(*parts, met)


def sampled_loss(
    states: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    negatives: torch.Tensor,
    cells: torch.Tensor,
    items: nn.Embedding,
) -> torch.Tensor:
    """As `softmax_loss`, with other negatives for each group of GROUP cells: negatives [groups, K], in which an item may be
    there twice. cells int64 [N]: the cell of each position, none twice; group g has the cells from GROUP g on.
    """
    n_groups, many = len(negatives), len(negatives) * GROUP
    states = states.new_zeros(many, states.shape[1]).index_copy(0, cells, states).view(n_groups, GROUP, -1)
    weights = weights.new_zeros(many).index_copy(0, cells, weights).view(n_groups, GROUP)
    targets = negatives[:, :1].repeat(1, GROUP).flatten().index_copy(0, cells, targets).view(n_groups, GROUP)
    met = torch.nonzero(targets[:, :, None] == negatives[:, None, :]).T
    return _Softmax.apply(states, items(targets), items(negatives), weights, met)


class _Softmax(torch.autograd.Function):
    """The gradient is computed in the forward pass. The loss is a scalar, so the backward pass only scales the gradient.

    The gradient of a block of positions is computed together with its loss, so at most LOGITS_AT_ONCE logits are in memory.
    """

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        positives: torch.Tensor,
        others: torch.Tensor,
        weights: torch.Tensor,
        met: torch.Tensor,
    ) -> torch.Tensor:
        """states and positives [groups, n, d], others [groups, K, d], weights [groups, n]. met int64 [3, any number]: group,
        position in it and index in `others` where a target is among its own negatives, in ascending order.
        """
        loss = states.new_zeros(())
        by_state, by_positive = torch.empty_like(states), torch.empty_like(positives)
        by_other = torch.zeros_like(others)
        n_groups, n_positions, _ = states.shape
        rows = max(1, LOGITS_AT_ONCE // max(1, others.shape[1]))
        groups = max(1, rows // max(1, n_positions))
        for group in range(0, n_groups, groups):
            for start in range(0, n_positions, rows):
                part = slice(group, group + groups), slice(start, start + rows)
                state, positive, weight, other = states[part], positives[part], weights[part], others[part[0]]
                own = (state * positive).sum(2)
                logits = state @ other.transpose(1, 2)
                here = (met[0] // groups == group // groups) & (met[1] // rows == start // rows)
                which, position, column = met[:, here]
                logits[which - group, position - start, column] = -torch.inf
                highest = torch.maximum(logits.amax(2), own)
                logits.sub_(highest[:, :, None]).exp_()
                own_share = (own - highest).exp()
                total = logits.sum(2) + own_share
                loss += (weight * (total.log() + highest - own)).sum()
                logits.mul_((weight / total)[:, :, None])
                slope = weight * (own_share / total - 1)
                by_state[part] = (logits @ other).addcmul_(slope[:, :, None], positive)
                by_positive[part] = slope[:, :, None] * state
                by_other[part[0]] += logits.transpose(1, 2) @ state
        ctx.save_for_backward(by_state, by_positive, by_other)
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        by_state, by_positive, by_other = ctx.saved_tensors
        return upstream * by_state, upstream * by_positive, upstream * by_other, None, None
