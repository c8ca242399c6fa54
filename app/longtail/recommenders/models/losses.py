"""The losses of SASRec: predict the next item at each position, weighted by the interaction weight of that item."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from longtail.recommenders.models.transformer import Layout, Transformer

LOGITS_AT_ONCE = 2**22
"""The number of logits that are in memory at a time (16 MiB of float32), for a catalogue of any size."""


class NextItemLoss(nn.Module):
    """The sum over targets of weight x loss, and over preferences of confidence x softplus(y_rejected - y_preferred).

    If `binary`, the loss is binary cross-entropy with one negative per target (`bce`: arXiv 1808.09781, equation 7).
    If not, it is the cross-entropy of the target against `negatives`, which all targets share.
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
        preferences: tuple[torch.Tensor, ...],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The two sums: the loss of the targets, and the loss of the preferences times `preference_weight`.

        items [N]: the inputs. targets and weights [T]; places [T]: the index in `items` of the state that predicts each
        target. negatives [T] if `binary`, if not [any number]. preferences: four tensors [P], the index of the state that
        predicts the preference, the preferred item, the rejected item and the confidence.
        """
        every = self.model(items, layout)
        states = every.index_select(0, places)
        if self.binary:
            # One look-up for both, because each look-up makes a gradient as large as the whole embedding.
            targets_then_negatives = self.model.items(torch.cat([targets, negatives]))
            both = targets_then_negatives.unflatten(0, (2, len(targets)))
            positive, negative = (states * both).sum(-1)
            loss = (weights * (functional.softplus(-positive) + functional.softplus(negative))).sum()
        else:
            loss = softmax_loss(states, targets, weights, negatives, self.model.items)
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

    If the target of a position is also one of the negatives, it counts once. The gradient of a chunk of positions is
    computed together with its loss, so at most LOGITS_AT_ONCE logits are in memory.
    """
    column = torch.full((items.num_embeddings,), -1, device=targets.device)
    column[negatives] = torch.arange(len(negatives), device=targets.device)
    return _Softmax.apply(states, items(targets), items(negatives), weights, column[targets])


class _Softmax(torch.autograd.Function):
    """The gradient is computed in the forward pass. The loss is a scalar, so the backward pass only scales the gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        positives: torch.Tensor,
        others: torch.Tensor,
        weights: torch.Tensor,
        column: torch.Tensor,
    ) -> torch.Tensor:
        """column int64 [N]: the index in `others` of the target of each position, -1 if it is not there."""
        loss = states.new_zeros(())
        by_state, by_positive = torch.empty_like(states), torch.empty_like(positives)
        by_other = torch.zeros_like(others)
        chunk = max(1, LOGITS_AT_ONCE // max(1, len(others)))
        for start in range(0, len(states), chunk):
            part = slice(start, start + chunk)
            state, positive, weight = states[part], positives[part], weights[part]
            own = (state * positive).sum(1)
            logits = state @ others.T
            twice = torch.nonzero(column[part] >= 0).flatten()
            logits[twice, column[part][twice]] = -torch.inf
            highest = torch.maximum(logits.amax(1), own)
            logits.sub_(highest[:, None]).exp_()
            own_share = (own - highest).exp()
            total = logits.sum(1) + own_share
            loss += (weight * (total.log() + highest - own)).sum()
            logits.mul_((weight / total)[:, None])
            slope = weight * (own_share / total - 1)
            torch.mm(logits, others, out=by_state[part])
            by_state[part].addcmul_(slope[:, None], positive)
            by_positive[part] = slope[:, None] * state
            by_other.addmm_(logits.T, state)
        ctx.save_for_backward(by_state, by_positive, by_other)
        return loss

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        by_state, by_positive, by_other = ctx.saved_tensors
        return upstream * by_state, upstream * by_positive, upstream * by_other, None, None
