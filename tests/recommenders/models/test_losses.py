"""The losses are the formulas, whatever the chunk, and their gradients those of autograd."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from longtail.recommenders.models import losses
from longtail.recommenders.models.losses import softmax_loss


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


def test_large_logits_stay_finite() -> None:
    items = nn.Embedding(4, 2)
    with torch.no_grad():
        items.weight.copy_(torch.tensor([[100.0, 0], [-100, 0], [0, 100], [0, -100]]))
    states = torch.tensor([[100.0, 0], [0, 100]], requires_grad=True)
    loss = softmax_loss(states, torch.tensor([0, 3]), torch.ones(2), torch.arange(4), items)
    loss.backward()
    assert loss.item() == pytest.approx(20_000) and torch.isfinite(states.grad).all()
