"""The loss: weights count as the paper says, padding counts nothing."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from app.llm.tuning import collate, weighted_loss


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), lengths=st.lists(st.integers(2, 7), min_size=1, max_size=5))
def test_loss_equals_the_sum_over_examples_one_by_one(seed, lengths):
    rng = np.random.default_rng(seed)
    tokens = [rng.integers(0, 11, length) for length in lengths]
    weights = [rng.choice([0.0, 1.0, 4.0], length).astype(np.float32) for length in lengths]
    batch = collate(tokens, weights, pad=10)
    logits = torch.randn(*batch["tokens"].shape, 11, generator=torch.Generator().manual_seed(seed))
    one_by_one = sum(
        weight[t] * functional.cross_entropy(logits[row, t - 1], torch.tensor(ids[t]))
        for row, (ids, weight) in enumerate(zip(tokens, weights, strict=True))
        for t in range(1, len(ids))
    )
    batched = weighted_loss(logits, torch.from_numpy(batch["tokens"]), torch.from_numpy(batch["weights"]))
    assert torch.allclose(batched, torch.as_tensor(one_by_one, dtype=torch.float32), atol=1e-4)


def test_collate_pads_on_the_right_and_masks_the_padding():
    batch = collate([np.array([1, 2, 3]), np.array([4])], [np.ones(3), np.ones(1)], pad=9)
    assert batch["tokens"].tolist() == [[1, 2, 3], [4, 9, 9]]
    assert batch["mask"].tolist() == [[True] * 3, [True, False, False]]
    assert batch["weights"][1].tolist() == [1.0, 0.0, 0.0]
