"""The losses are the formulas, whatever the chunk, and their gradients those of autograd."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from longtail.recommenders.models import losses
from longtail.recommenders.models.losses import GROUP, sampled_loss, softmax_loss


@pytest.mark.parametrize("chunk", [1, 7 * 30, 2**22])
@pytest.mark.parametrize("negatives", [torch.arange(30), torch.tensor([3, 9, 4])])
def test_softmax_loss_is_cross_entropy(
    chunk: int, negatives: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`full`: the target is among the negatives and counts once. `sampled`: it may or may not be."""
    monkeypatch.setattr(losses, "LOGITS_AT_ONCE", chunk)
    torch.manual_seed(0)
    items, states = nn.Embedding(30, 5), torch.randn(20, 5, requires_grad=True)
    targets, weights = torch.randint(0, 30, (20,)), torch.rand(20)
    softmax_loss(states, targets, weights, negatives, items).mul(3).backward()
    found = [states.grad.clone(), items.weight.grad.clone()]
    states.grad = items.weight.grad = None

    candidates = torch.zeros(20, 30, dtype=torch.bool)
    candidates[:, negatives] = True
    candidates[torch.arange(20), targets] = True
    logits = (states @ items.weight.T).masked_fill(~candidates, -torch.inf)
    expected = (weights * functional.cross_entropy(logits, targets, reduction="none")).sum()
    (3 * expected).backward()
    torch.testing.assert_close(softmax_loss(states, targets, weights, negatives, items), expected)
    torch.testing.assert_close(found[0], states.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1], items.weight.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 8, GROUP * 6 + 5, 2 * GROUP * 6, 2**22])
def test_sampled_loss_is_cross_entropy_with_the_negatives_of_the_group(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin takes one position after the other. Targets among their negatives, items drawn twice, and cells without a
    position are among them: another worker has those.
    """
    monkeypatch.setattr(losses, "LOGITS_AT_ONCE", chunk)
    torch.manual_seed(0)
    items, cells = nn.Embedding(9, 5), torch.randperm(4 * GROUP)[:30].sort().values
    states = torch.randn(30, 5, requires_grad=True)
    negatives, targets, weights = torch.randint(0, 9, (4, 6)), torch.randint(0, 9, (30,)), torch.rand(30)
    found = sampled_loss(states, targets, weights, negatives, cells, items)
    found.mul(3).backward()
    gradients = [states.grad.clone(), items.weight.grad.clone()]
    states.grad = items.weight.grad = None

    expected, met = torch.zeros(()), 0
    for state, target, weight, cell in zip(states, targets, weights, cells, strict=True):
        own = negatives[cell // GROUP]
        met += int((own == target).any())
        candidates = torch.cat([target[None], own[own != target]])
        expected = expected - weight * (items.weight[candidates] @ state).log_softmax(0)[0]
    assert 0 < met < 30 and any(len(set(own)) < 6 for own in negatives.tolist())
    (3 * expected).backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients[0], states.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gradients[1], items.weight.grad, rtol=1e-4, atol=1e-5)


def test_large_logits_stay_finite() -> None:
    items = nn.Embedding(4, 2)
    with torch.no_grad():
        items.weight.copy_(torch.tensor([[100.0, 0], [-100, 0], [0, 100], [0, -100]]))
    states = torch.tensor([[100.0, 0], [0, 100]], requires_grad=True)
    loss = softmax_loss(states, torch.tensor([0, 3]), torch.ones(2), torch.arange(4), items)
    loss.backward()
    assert loss.item() == pytest.approx(20_000) and torch.isfinite(states.grad).all()
