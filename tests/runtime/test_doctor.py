"""The doctor finds each fault met in practice, survives a broken engine, and is content with this machine."""

import pytest

from longtail.runtime.doctor import (
    ENGINES,
    Check,
    checks,
    import_check,
    torchvision_check,
    version_check,
    vllm_check,
)


def test_versions_are_held_against_the_pins() -> None:
    assert version_check("ray", "2.60.0", "==2.60.0").ok
    assert version_check("torch", "2.13.0+cpu", ">=2.11").ok
    stale = version_check("ray", "2.59.1", "==2.60.0")
    assert not stale.ok and stale.needed and "ray==2.60.0" in stale.fix
    assert version_check("peft", None, "==0.21.2").found == "not installed"


def test_vllm_is_there_once_and_of_the_version_that_ray_wants() -> None:
    assert vllm_check("0.29.0", None, "==0.29.0").ok
    assert vllm_check(None, "0.29.0", "==0.29.0").ok
    assert not vllm_check("0.28.0", None, "==0.29.0").ok
    assert not vllm_check(None, None, "==0.29.0").ok
    both = vllm_check("0.29.0", "0.29.0", "==0.29.0")
    assert not both.ok and "uninstall" in both.fix


@pytest.mark.parametrize(
    ("torch", "torchvision", "ok"),
    [
        ("2.13.0+cpu", "0.28.0", False),
        ("2.13.0+cpu", "0.28.0+cpu", True),
        ("2.13.0+cpu", None, True),
        ("2.13.0", "0.28.0", True),
    ],
)
def test_cuda_torchvision_beside_cpu_torch_is_found(torch: str, torchvision: str | None, ok: bool) -> None:
    found = torchvision_check(torch, {"torchvision": torchvision})
    assert found.ok is ok
    assert found.ok or "uninstall -y torchvision" in found.fix


def test_a_broken_engine_does_not_break_the_doctor() -> None:
    missing = import_check("nothing", "import no_such_engine")
    assert not missing.ok and "no_such_engine" in missing.found and missing.fix
    dead = import_check("crash", "import os; os.abort()")
    assert not dead.ok and "signal 6" in dead.found
    assert import_check("fine", "print('on cpu')") == Check("import of fine", True, "on cpu")


def test_this_machine_can_run_the_main_job() -> None:
    seen = list(checks())
    found = [check for _, check in seen if check is not None]
    assert [name for name, check in seen if check is None] == [f"import of {name}" for name in ENGINES]
    faults = [check for check in found if check.needed and not check.ok]
    assert not faults, faults
    assert {f"import of {name}" for name in ENGINES} <= {check.name for check in found}
    assert all(check.fix for check in found if not check.ok)
