"""Item vectors with texts: they are the sum that is trained, and what is kept needs no texts any more."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from longtail.errors import InputError
from longtail.recommenders import build, load
from longtail.recommenders.interactions import Interactions, Preferences, Targets
from longtail.recommenders.models.bpr import BPRSection
from longtail.recommenders.models.factors import FactorsLearner
from longtail.recommenders.models.lightgcn import LightGCNSection
from longtail.recommenders.models.sasrec import SASRecSection
from longtail.recommenders.models.sasrec_model import SASRecLearner
from longtail.recommenders.models.transformer import Layout, Transformer
from longtail.recommenders.trained_section import TextSection
from longtail.recommenders.training.compute import Compute
from longtail.recommenders.training.epoch_checkpoints import Checkpoints
from longtail.recommenders.training.trained import MAP
from longtail.text.item_texts import ItemTexts
from longtail.workspace import Workspace
from tests.recommenders.conftest import SECTIONS, clusters, interactions, with_texts
from tests.recommenders.learners import dense, every_layer

CPU = torch.device("cpu")
READING = [name for name, section in SECTIONS.items() if isinstance(section, TextSection)]


def section_of(name: str, **changes: object) -> TextSection:
    return SECTIONS[name].model_copy(update={"text": True} | changes)


def learner(name: str, section: TextSection, train: Interactions) -> FactorsLearner | SASRecLearner:
    model = build(name, section)
    settings = section.model_dump() | {"seed": 1, "shape": (train.n_users, train.n_items)}
    return model.learner(model.prepared(train, Preferences.none()), settings, CPU)


def test_these_recommenders_read_texts() -> None:
    assert {"bpr", "lightgcn", "neumf", "sasrec"} <= set(READING)


@pytest.mark.parametrize("layers", [0, 2])
def test_a_step_of_factors_has_the_gradient_of_the_sum(layers: int) -> None:
    """By autograd through free + text @ map, the propagation and the loss as published."""
    train = with_texts(clusters())
    name, section = "bpr", BPRSection(dim=4, batch=40, l2=0.1, text=True)
    if layers:
        name, section = "lightgcn", LightGCNSection(dim=4, layers=layers, batch=40, l2=0.1, text=True)
    ours = learner(name, section, train)
    free, mapping = (tensor.clone().requires_grad_() for tensor in (ours.free, ours.map))
    n_users, text = train.n_users, torch.from_numpy(train.texts().dense(seed=0))
    every = torch.cat([free[:n_users], free[n_users:] + text @ mapping])
    torch.testing.assert_close(ours.embeddings, every.detach())
    batch = next(iter(ours.batches.epoch(np.random.default_rng(0))))
    rejected = ours.batches.negatives.draw(batch.users, np.random.default_rng(5)) + n_users
    ours.learn(batch, np.random.default_rng(5))
    before = [ours.free.clone(), ours.map.clone()]
    ours.step()

    final = every_layer(dense(train.matrix.toarray()), every, layers).mean(0)
    preferred = batch.preferred + n_users
    margin = (final[batch.users] * (final[preferred] - final[rejected])).sum(1)
    loss = (torch.tensor(batch.weights) * functional.softplus(-margin)).sum()
    squares = sum(every[part].square().sum() for part in (batch.users, preferred, rejected))
    ((loss + section.l2 / 2 * squares) / 40).backward()
    for found, expected in ((ours.free, free), (ours.map, mapping)):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-6)
    adam = torch.optim.Adam([free, mapping], lr=section.lr)
    adam.step()
    assert not torch.equal(before[1], ours.map)
    torch.testing.assert_close(ours.map, mapping.detach(), rtol=1e-3, atol=1e-5)
    composed = ours.free[n_users:] + text @ ours.map
    torch.testing.assert_close(ours.embeddings[n_users:], composed)


@pytest.mark.parametrize("loss", ["bce", "sampled", "full"])
def test_what_sasrec_keeps_is_a_network_without_texts(loss: str) -> None:
    """It has the states and the item vectors of the one that was trained."""
    train, section = with_texts(clusters()), section_of("sasrec", loss=loss, negatives=8, lr=0.01)
    ours = learner("sasrec", section, train)
    trained, start = ours.engine.module.model, ours.engine.module.model.items.map.weight.clone()
    for epoch in range(3):
        ours.epoch(np.random.default_rng(epoch))
    assert not torch.allclose(trained.items.map.weight, start), "the map is trained"
    plain = Transformer(train.n_items, section).eval()
    weights = ours.weights()
    torch.testing.assert_close(torch.tensor(weights.pop(MAP)), trained.items.map.weight.T)
    plain.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    everything = torch.arange(train.n_items)
    text = torch.from_numpy(train.texts().dense(seed=0))
    expected = trained.items.weight + text @ trained.items.map.weight.T
    torch.testing.assert_close(plain.items(everything), expected)
    layout = Layout.of(np.array([5, 6]), 6, CPU)
    torch.testing.assert_close(
        plain(everything[:11], layout), trained.eval()(everything[:11], layout), rtol=1e-4, atol=1e-5
    )


def test_mapped_texts_start_as_long_as_free_vectors() -> None:
    vectors = np.random.default_rng(0).standard_normal((500, 64)).astype(np.float32)
    start = Transformer(500, SASRecSection(), vectors, np.ones(500, bool)).items
    mapped = start.map(torch.from_numpy(vectors))
    assert mapped.std().item() == pytest.approx(start.weight.std().item(), rel=0.1)


@pytest.mark.parametrize("name", READING)
def test_a_saved_model_needs_no_texts(name: str, tmp_path: Path) -> None:
    place = Workspace(str(tmp_path)) / "model"
    model = build(name, section_of(name), seed=3).fit(with_texts(clusters()))
    model.save(place)
    plain = build(name, SECTIONS[name], seed=3).fit(clusters())
    assert set(model.arrays()) == {*plain.arrays(), "by_text", "bias"}
    users = np.arange(60)
    np.testing.assert_array_equal(load(place).recommend(users, 7), model.recommend(users, 7))


@pytest.mark.parametrize("name", READING)
def test_texts_change_nothing_unless_they_are_asked_for(name: str) -> None:
    users = np.arange(1, 60)

    def scored(section: TextSection, train: Interactions) -> np.ndarray:
        model = build(name, section, seed=3).fit(train)
        return model.score(model.seen.take(users), users)

    without, unread, read = (
        scored(section, train)
        for section, train in (
            (SECTIONS[name], clusters()),
            (SECTIONS[name], with_texts(clusters())),
            (section_of(name), with_texts(clusters())),
        )
    )
    np.testing.assert_array_equal(without, unread)
    assert not np.allclose(without, read)


@pytest.mark.parametrize("name", ["bpr", "lightgcn", "sasrec"])
def test_texts_tell_what_a_thin_log_does_not(name: str) -> None:
    """Users of two tastes with 4 of 100 items each, two users for an item. Each title names the taste."""
    rng = np.random.default_rng(0)
    rows = [(rng.permutation(100)[:4] + user % 2 * 100).tolist() for user in range(100)]
    texts = [f"{'upper' if item >= 100 else 'lower'} {'abcde'[item % 5]}" for item in range(200)]
    train = replace(interactions(rows, 200), texts=lambda: ItemTexts(texts))
    changes = {"dim": 16, "epochs": 15, "lr": 0.01, "l2": 1e-3, "batch": 32}
    users = np.arange(100)
    own = (np.arange(200) >= 100) == (users % 2 == 1)[:, None]

    def of_ten(text: bool) -> float:
        """Of a user's ten best items, the share that is of the user's taste."""
        model = build(name, section_of(name, text=text, **changes), seed=1).fit(train)
        items, _ = model.recommend(users, 10)
        return float(own[users[:, None], items].mean())

    without, reading = of_ten(text=False), of_ten(text=True)
    assert reading > max(0.95, without)


@pytest.mark.parametrize("name", READING)
def test_a_cut_training_with_texts_reaches_the_weights_of_an_uncut_one(name: str, tmp_path: Path) -> None:
    section = section_of(name, epochs=6, validate_every=2, patience=9)
    train = with_texts(clusters())
    users = np.arange(1, 60)
    targets = Targets(users, train.items[train.indptr[users] + train.observed[users]])
    whole = build(name, section, seed=3).fit(train, None, targets)
    checkpoints = Checkpoints(Workspace(str(tmp_path)) / "kept", seconds=0)

    def cut(epoch: int, score: float) -> None:
        if epoch == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(name, section, 3, Compute(checkpoints=checkpoints, report=cut)).fit(train, None, targets)
    resumed = build(name, section, 3, Compute(checkpoints=checkpoints)).fit(train, None, targets)
    for key, array in whole.arrays().items():
        np.testing.assert_allclose(resumed.arrays()[key], array, rtol=1e-4, atol=1e-6, err_msg=key)


@pytest.mark.parametrize("words", [None, [""] * 24, [f"item{code}" for code in range(24)]])
def test_texts_that_tell_nothing_are_an_input_error(words: list[str] | None) -> None:
    """No catalogue, one without titles, and one whose titles share no word."""
    with pytest.raises(InputError, match="text: no two items share a word.*dataset.columns"):
        texts = None if words is None else lambda: ItemTexts(words)
        build("bpr", section_of("bpr")).fit(replace(clusters(), texts=texts))


def test_texts_need_an_engine_that_holds_all_weights() -> None:
    with pytest.raises(ValueError, match="text needs engine ddp, got deepspeed"):
        SASRecSection(text=True, engine="deepspeed")
