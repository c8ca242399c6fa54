"""The loop in one process: learning rate, early stopping, losses that are not finite, frozen weights, what it tells."""

from dataclasses import replace

import numpy as np
import pytest
import safetensors
import torch
from hypothesis import given
from hypothesis import strategies as st

from longtail.errors import InputError
from longtail.llm.finetune.batches import Batches
from longtail.llm.finetune.packing import Pack, token_losses
from longtail.llm.finetune.tuning_loop import LOOK, learning_rate
from longtail.recipe import Tuning
from tests.llm.finetune.toys import (
    CPU,
    Cut,
    losses,
    run,
    toy_examples,
    toy_job,
    toy_model,
    toy_rows,
    weights,
    write_shards,
)


@torch.no_grad()
def validation_loss(model, job) -> float:
    """Mean over the weights of all taught tokens, one example at a time."""
    total = weight = 0.0
    for batch in Batches(job.examples / "validation", 1, 0).epoch(0):
        pack = Pack.of(batch.examples, CPU)
        total += float((token_losses(model, pack) * pack.weights).sum())
        weight += float(pack.weights.sum())
    return total / weight


@given(
    steps=st.integers(1, 500),
    warm_up=st.floats(0, 1),
    lr=st.floats(1e-6, 1.0),
)
def test_learning_rate_rises_to_the_highest_and_falls_to_a_twentieth(steps, warm_up, lr):
    section = Tuning(lr=lr, warm_up=warm_up)
    rates = np.array([learning_rate(section, step, steps) for step in range(steps)])
    warm = max(1, round(steps * warm_up))
    np.testing.assert_allclose(rates[:warm], lr * np.arange(1, warm + 1) / warm)
    assert (np.diff(rates[warm - 1 :]) <= lr * 1e-12).all()
    assert learning_rate(section, steps, steps) == pytest.approx(0.05 * lr if warm < steps else lr)
    assert (rates[warm:] >= 0.05 * lr * (1 - 1e-9)).all()


def test_a_tuned_model_has_learnt_the_language(tmp_path):
    job = toy_job(tmp_path, patience=3)
    engine, progress = run(job)
    assert losses(progress)[-5:].mean() < 0.5 * losses(progress)[0]
    untuned = validation_loss(toy_model(), job)
    assert validation_loss(engine.model.eval(), job) < 0.5 * untuned


def test_the_curve_has_a_row_for_every_step(tmp_path):
    told, looked = [], []
    job = toy_job(tmp_path, batch=12, patience=9)
    job = replace(job, say=told.append, look=looked.append)
    _, progress = run(job)
    steps = 4 * 14
    assert [row["step"] for row in progress.curve] == list(range(1, steps + 1))
    assert [row["lr"] for row in progress.curve] == [
        learning_rate(job.settings, step, steps) for step in range(steps)
    ]
    assert progress.curve[-1]["tokens"] == 4 * sum(len(row["tokens"]) for row in toy_rows(160, 1))
    assert (np.diff([row["seconds"] for row in progress.curve]) >= 0).all()
    assert [row["step"] for row in looked if "loss" in row] == [10, 14, 20, 28, 30, 40, 42, 50, 56]
    assert [(row["step"], row["valid_loss"]) for row in looked if "valid_loss" in row] == progress.validations
    assert told[-1].startswith("toy: 56 of 56 steps (100%), loss ")
    own = {"about", "done", "total", "unit", "per_second", "seconds_left"}
    assert told[-1].figures.keys() == own | {"loss", "tokens_per_second", "valid_loss"}


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    job = toy_job(tmp_path, epochs=1)
    found = [
        weights(run(replace(job, seed=seed), dropout=0.2)[0])["model.embed_tokens.weight"]
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_accumulation_changes_no_loss(tmp_path):
    _, whole = run(toy_job(tmp_path, epochs=5))
    _, parts = run(toy_job(tmp_path, epochs=5, micro_tokens=50, kept="parts"))
    np.testing.assert_allclose(losses(parts), losses(whole), rtol=1e-5)


def test_early_stopping_ends_with_the_weights_of_the_best_validation(tmp_path):
    toy_examples(tmp_path, valid_by=3)
    job = toy_job(tmp_path, epochs=30, patience=2)
    engine, progress = run(job)
    by_step = dict(progress.validations)
    best = progress.best_step
    assert by_step[best] == min(by_step.values())
    assert [step for step in by_step if step > best] == [best + 10, best + 20]
    assert progress.step == best + 20 < 300
    found = validation_loss(engine.model.eval(), job)
    assert found == pytest.approx(by_step[best], rel=1e-5)
    assert by_step[best] < 0.9 * by_step[progress.step]


def test_patience_0_trains_to_the_end_and_keeps_the_last_weights(tmp_path):
    toy_examples(tmp_path, valid_by=3)
    job = toy_job(tmp_path, epochs=6, patience=0)
    engine, progress = run(job)
    assert (progress.step, progress.validations) == (60, [])
    assert not job.checkpoints.place.files()
    best, watched = run(toy_job(tmp_path, epochs=6, patience=99, kept="watched"))
    np.testing.assert_allclose(losses(progress), losses(watched), rtol=1e-6)
    last = dict(watched.validations)[60]
    assert validation_loss(engine.model.eval(), job) == pytest.approx(last, rel=1e-5)
    assert validation_loss(best.model.eval(), job) < 0.9 * last


@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_names_step_and_users_and_leaves_good_weights(tmp_path, weight):
    """An example with an impossible weight is the cause; once it is mended the same job goes on."""
    rows = toy_rows(160, 1)
    rows[77]["weights"] = rows[77]["weights"] * np.float32(0) + np.float32(weight)
    job = toy_job(tmp_path, checkpoint_steps=10)
    good = [file.read_table() for file in (job.examples / "train").files()]
    write_shards(job.examples / "train", [rows[shard::3] for shard in range(3)])
    order = [batch.users for epoch in (0, 1) for batch in Batches(job.examples / "train", 16, 7).epoch(epoch)]
    at = next(step for step, users in enumerate(order, 1) if 77 in users)
    names = ", ".join(map(str, order[at - 1][:5]))
    with pytest.raises(InputError, match=f"toy: loss nan.* at step {at} of 40, .* of the users {names} …"):
        run(job)
    left = [file for file in job.checkpoints.place.files(".safetensors")]
    assert len(left) == (at - 1) // LOOK
    for file in left:
        with safetensors.safe_open(file.path, framework="pt") as tensors:
            assert all(tensors.get_tensor(name).isfinite().all() for name in tensors.keys())  # noqa: SIM118
    for file, table in zip((job.examples / "train").files(), good, strict=True):
        file.write_table(table)
    _, progress = run(job)
    assert progress.step == 40
    assert np.isfinite(losses(progress)).all()


def test_a_learning_rate_that_is_too_high_leaves_no_bad_checkpoint(tmp_path):
    job = toy_job(tmp_path, lr=1e30, checkpoint_steps=1)
    with pytest.raises(InputError, match="Lower lr"):
        run(job)
    assert not job.checkpoints.place.files()


def test_weights_that_are_not_finite_stop_at_the_first_step(tmp_path):
    model = toy_model()
    with torch.no_grad():
        model.model.norm.weight[0] = np.inf
    with pytest.raises(InputError, match="at step 1 of 40"):
        run(toy_job(tmp_path), model=model)


def test_frozen_weights_never_move_and_are_in_no_checkpoint(tmp_path):
    model = toy_model()
    frozen = {name for name, _ in model.named_parameters() if "layers.0" in name}
    for name, part in model.named_parameters():
        part.requires_grad_(name not in frozen)
    before = {name: part.detach().clone() for name, part in model.named_parameters()}
    job = toy_job(tmp_path, patience=3, epochs=2, checkpoint_steps=10)
    engine, _ = run(job, model=model)
    for name, part in engine.model.named_parameters():
        assert torch.equal(part, before[name]) == (name in frozen), name
    files = job.checkpoints.place.files(".safetensors")
    assert files
    for file in files:
        with safetensors.safe_open(file.path, framework="pt") as tensors:
            kept = {key.partition("/")[2] for key in tensors.keys()}  # noqa: SIM118
        assert kept == before.keys() - frozen


def test_no_validation_examples_means_no_early_stopping(tmp_path):
    toy_examples(tmp_path)
    job = toy_job(tmp_path, patience=1, epochs=2)
    (job.examples / "validation").delete()
    _, progress = run(job)
    assert (progress.step, progress.validations) == (20, [])


def test_a_run_that_is_over_is_not_run_again(tmp_path):
    """Cut after the last checkpoint, while its model is written out: the next start has nothing to train."""
    job = toy_job(tmp_path, checkpoint_steps=10)
    engine, progress = run(job)

    def no_step(row):
        raise Cut

    again, same = run(replace(job, look=no_step))
    assert same.curve == progress.curve
    for name, part in weights(engine).items():
        np.testing.assert_array_equal(weights(again)[name], part)
