"""The network looks back only, positions count from the end, grouping by length changes nothing, blocks are the formulas."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtail.recommenders.models.dropping import dropout, dropping_attention, kept
from longtail.recommenders.models.sasrec import SASRecSection as Section
from longtail.recommenders.models.transformer import Layout, Transformer

CPU = torch.device("cpu")
both_blocks = pytest.mark.parametrize("block", ["sasrec", "ligr"])


def states(model: Transformer, *rows: torch.Tensor) -> list[torch.Tensor]:
    """The states of some sequences, asked together."""
    lengths = np.array([len(row) for row in rows])
    layout = Layout.of(lengths, model.positions.num_embeddings, CPU)
    return list(model(torch.cat(rows), layout).split(lengths.tolist()))


@both_blocks
def test_a_later_item_does_not_change_earlier_states(block: str) -> None:
    model = Transformer(20, Section(dim=8, max_length=10, heads=2, block=block)).eval()
    items = torch.randint(0, 20, (10,))
    (before,) = states(model, items)
    for step in range(1, 10):
        changed = items.clone()
        changed[step] = (changed[step] + 1) % 20
        (after,) = states(model, changed)
        torch.testing.assert_close(after[:step], before[:step])
        assert not torch.allclose(after[step], before[step])


@both_blocks
@given(lengths=st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_a_sequence_has_the_same_states_alone_and_among_others(block: str, lengths: list[int]) -> None:
    model = Transformer(20, Section(dim=8, max_length=12, block=block)).eval()
    rows = [torch.randint(0, 20, (length,)) for length in lengths]
    for row, together in zip(rows, states(model, *rows), strict=True):
        torch.testing.assert_close(together, states(model, row)[0], rtol=1e-4, atol=1e-5)


@both_blocks
@pytest.mark.parametrize("heads", [1, 2])
def test_a_state_is_the_formula(block: str, heads: int) -> None:
    """Two blocks, written out with PyTorch's own attention: `sasrec` of section 3.2, `ligr` as in eSASRec."""
    torch.manual_seed(0)
    section = Section(dim=8, max_length=10, heads=heads, layers=2, block=block, expansion=3)
    model = Transformer(20, section).eval()
    for parameter in model.parameters():  # so that norms and biases count
        torch.nn.init.normal_(parameter, std=0.4)
    items = torch.randint(0, 20, (7,))
    x = model.items.weight[items] * 8**0.5 + model.positions.weight[3:]
    for own in model.blocks:
        before = x
        attention = torch.nn.MultiheadAttention(8, heads, batch_first=True)
        attention.load_state_dict(
            {
                "in_proj_weight": own.inward.weight,
                "in_proj_bias": own.inward.bias,
                "out_proj.weight": own.outward.weight,
                "out_proj.bias": own.outward.bias,
            }
        )
        future = torch.ones(7, 7, dtype=torch.bool).triu(1)
        normal = own.attention_norm(x)
        heard, _ = attention(normal, normal, normal, attn_mask=future)
        if block == "sasrec":
            x = x + heard
            first, *_, second, _ = own.network
            x = x + second(first(own.network_norm(x)).relu())
        else:
            x = x + torch.sigmoid(before @ own.attention_gate.weight.T + own.attention_gate.bias) * heard
            normal, before = own.network_norm(x), x
            gate, value = own.network.gate_and_value.weight.split(24)
            inner = torch.nn.functional.silu(normal @ gate.T) * (normal @ value.T)
            gate = torch.sigmoid(before @ own.network_gate.weight.T + own.network_gate.bias)
            x = before + gate * (inner @ own.network.outward.weight.T)
    if block == "sasrec":
        x = model.norm(x)
    torch.testing.assert_close(states(model, items)[0], x, rtol=1e-4, atol=1e-5)


def test_the_last_item_has_the_last_position() -> None:
    model = Transformer(20, Section(dim=8, max_length=10)).eval()
    items = torch.randint(0, 20, (4,))
    (before,) = states(model, items)
    with torch.no_grad():
        model.positions.weight[:6] = 100
    assert torch.equal(states(model, items)[0], before)
    with torch.no_grad():
        model.positions.weight[9] = 100
    assert not torch.allclose(states(model, items)[0][3], before[3])


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_every_position_has_one_cell_and_short_sequences_stand_apart(lengths: list[int]) -> None:
    layout = Layout.of(np.array(lengths), 40, CPU)
    n = sum(lengths)
    assert torch.equal(layout.groups.gather[layout.groups.scatter], torch.arange(n))
    assert layout.groups.scatter.unique().numel() == n
    assert sum(rows for rows, _ in layout.groups.shapes) == len(lengths)
    assert sum(rows * longest for rows, longest in layout.groups.shapes) <= n / 0.7 + 1
    assert layout.last.tolist() == (np.cumsum(lengths) - 1).tolist()


def test_attention_that_drops_is_attention_in_the_mean() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 2, 6, 4)
    plain = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    torch.testing.assert_close(dropping_attention(query, key, value, 0.0), plain)
    mean = torch.stack([dropping_attention(query, key, value, 0.3) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, plain, rtol=0, atol=0.12)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_keeps_the_mean_and_follows_the_seed(share: float) -> None:
    torch.manual_seed(1)
    mask = kept(torch.Size([1000, 500]), share)
    assert mask.mean().item() == pytest.approx(1, abs=5e-3)
    assert (mask == 0).float().mean().item() == pytest.approx(round(256 * share) / 256, abs=3e-3)
    torch.manual_seed(1)
    assert torch.equal(mask, kept(torch.Size([1000, 500]), share))
    assert not torch.equal(mask, kept(torch.Size([1000, 500]), share)), "the next draw is another"
    values = torch.randn(5)
    assert torch.equal(dropout(values, share, training=False), values)
