"""Two workers under every ZeRO stage tune as one process does: the same curve, the same weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.llm.finetune.toys import losses, run, toy_examples, toy_job, toy_model, weights
from tests.two_workers import two_workers

FIFTY = {"epochs": 5}
"""Of ten steps."""
STAGES = {
    "ZeRO 0": {"zero": 0},
    "ZeRO 1": {"zero": 1},
    "ZeRO 2": {"zero": 2},
    "ZeRO 3": {"zero": 3},
    "ZeRO 1, offload": {"zero": 1, "offload": True},
    "ZeRO 0, accumulated": {"zero": 0, "micro_tokens": 50},
    "ZeRO 2, accumulated": {"zero": 2, "micro_tokens": 50},
    "ZeRO 3, accumulated": {"zero": 3, "micro_tokens": 50},
}
BF16 = {f"bf16, ZeRO {zero}": zero for zero in (0, 3)}
PATIENT = {"epochs": 12, "patience": 1}


def half_frozen() -> nn.Module:
    model = toy_model()
    for name, part in model.named_parameters():
        part.requires_grad_("layers.0" not in name)
    return model


def one_run(folder: Path, name: str, model: nn.Module | None = None, **changes: Any) -> dict[str, Any]:
    engine, progress = run(toy_job(folder, kept=name, **changes), model=model)
    found = {"losses": losses(progress), "weights": weights(engine), "validations": progress.validations}
    with engine.gathered():
        found["all"] = {
            part: whole.detach().float().numpy().copy() for part, whole in engine.model.named_parameters()
        }
    return found


def many_runs(folder: Path) -> dict[str, dict[str, Any]]:
    found = {name: one_run(folder, name, **FIFTY, **changes) for name, changes in STAGES.items()}
    for name, zero in BF16.items():
        half = toy_model().bfloat16()
        found[name] = one_run(folder, name, half, zero=zero, precision="bf16", checkpoint_steps=10)
        # Of the run that is over, everything is read again.
        half = toy_model(seed=1).bfloat16()
        found[f"{name}, again"] = one_run(folder, name, half, zero=zero, precision="bf16")
    for zero in (1, 3):
        found[f"frozen, ZeRO {zero}"] = one_run(folder, f"frozen {zero}", half_frozen(), zero=zero, epochs=1)
        found[f"validated, ZeRO {zero}"] = one_run(
            folder, f"validated {zero}", zero=zero, epochs=3, patience=9
        )
        found[f"patient, ZeRO {zero}"] = one_run(folder / "worse", f"{zero}", zero=zero, **PATIENT)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("engines")
    toy_examples(path)
    toy_examples(path / "worse", valid_by=3)
    return path


@pytest.fixture(scope="module")
def alone(folder) -> dict[str, Any]:
    return one_run(folder, "alone", **FIFTY)


@pytest.fixture(scope="module")
def together(folder) -> dict[str, dict[str, Any]]:
    return two_workers(many_runs, folder)


@pytest.mark.parametrize("stage", STAGES)
def test_two_workers_have_the_curve_and_the_weights_of_one_process(alone, together, stage):
    found = together[stage]
    assert len(found["losses"]) == 50
    np.testing.assert_allclose(found["losses"], alone["losses"], rtol=1e-5)
    assert found["weights"].keys() == alone["weights"].keys()
    for name, part in alone["weights"].items():
        assert found["weights"][name].dtype == np.float32
        np.testing.assert_allclose(found["weights"][name], part, rtol=1e-3, atol=1e-4, err_msg=name)
        np.testing.assert_array_equal(found["all"][name], found["weights"][name])


@pytest.mark.parametrize("name", BF16)
def test_bf16_learns_nearly_as_well_as_fp32(alone, together, name):
    curve = together[name]["losses"]
    assert np.isfinite(curve).all()
    assert curve[-5:].mean() < 0.5 * curve[0]
    np.testing.assert_allclose(curve[:10], alone["losses"][:10], rtol=0.1)


@pytest.mark.parametrize("name", BF16)
def test_bf16_is_kept_with_its_fp32_weights(together, name):
    """The last checkpoint, read into another model, gives the same weights: those of fp32 and their roundings."""
    for kind in ("weights", "all"):
        for part, whole in together[name][kind].items():
            np.testing.assert_array_equal(together[f"{name}, again"][kind][part], whole)
            rounded = torch.from_numpy(together[name]["weights"][part]).bfloat16().float().numpy()
            np.testing.assert_array_equal(together[name]["all"][part], rounded)
    assert any(
        (together[name]["all"][part] != whole).any() for part, whole in together[name]["weights"].items()
    )


@pytest.mark.parametrize("zero", [1, 3])
def test_frozen_weights_never_move(folder, together, zero):
    found, before = together[f"frozen, ZeRO {zero}"], dict(half_frozen().named_parameters())
    for name, part in found["all"].items():
        frozen = "layers.0" in name
        assert np.array_equal(part, before[name].detach().numpy()) == frozen, name
        assert (name in found["weights"]) != frozen, name
    one = one_run(folder, f"frozen alone {zero}", half_frozen(), epochs=1)
    np.testing.assert_allclose(found["losses"], one["losses"], rtol=1e-5)


@pytest.mark.parametrize("zero", [1, 3])
def test_validation_is_that_of_one_process_and_changes_nothing(folder, together, zero):
    """The last is the best, so that nothing but a validation stands between the last step and the weights."""
    found = together[f"validated, ZeRO {zero}"]
    one = one_run(folder, f"validated alone {zero}", epochs=3, patience=9)
    np.testing.assert_allclose(found["validations"], one["validations"], rtol=1e-5)
    np.testing.assert_allclose(found["losses"], one["losses"], rtol=1e-5)
    for name, part in one["all"].items():
        np.testing.assert_allclose(found["all"][name], part, rtol=1e-3, atol=1e-4, err_msg=name)
    assert min(one["validations"], key=lambda row: row[1])[0] == 30


@pytest.mark.parametrize("zero", [1, 3])
def test_early_stopping_ends_with_the_weights_of_the_best_validation(folder, together, zero):
    found = together[f"patient, ZeRO {zero}"]
    steps, valid = zip(*found["validations"], strict=True)
    best = int(np.argmin(valid))
    assert len(steps) == best + 2 < 12
    job = toy_job(folder / "worse", kept=f"best {zero}", **PATIENT)
    model = toy_model()
    model.load_state_dict({name: torch.from_numpy(part) for name, part in found["all"].items()}, strict=False)
    # A run whose learning rate is nothing tells what these weights are worth.
    job = replace(job, settings=job.settings.model_copy(update={"lr": 1e-30, "epochs": 1}))
    _, progress = run(job, model=model)
    assert progress.validations[0][1] == pytest.approx(valid[best], rel=1e-5)
