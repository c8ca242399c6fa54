"""Checkpoints of a tuning: whole tensors by name, divided among the workers' files, each file with its checksum.

A checkpoint is a folder `step-<n>` with a safetensors file from every worker; `checkpoint.json` is written last and makes
it valid. To write whole tensors, workers must exchange their parts. In return, a run with a different number of workers, a
different ZeRO stage or no DeepSpeed can continue from a checkpoint, and no pickle is ever read.
Ray Train's checkpoints do not replace this: they carry a folder, and what is in it would still be these files.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import safetensors.torch
import torch
import torch.distributed as dist
import xxhash

from longtail.llm.finetune.optimizer import KINDS, Engine
from longtail.workspace.place import Place

log = logging.getLogger("longtail")
ABOUT = "checkpoint.json"
KEPT = 2


@dataclass
class Progress:
    """The progress of a tuning after `step` steps.

    curve: one row per step, {step, loss, lr, grad_norm, tokens, seconds}; validations: (step, loss) of every validation.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)
    validations: list[tuple[int, float]] = field(default_factory=list)

    @property
    def best_step(self) -> int | None:
        """The step after which the validation loss was lowest; of equals, the first."""
        return min(self.validations, key=lambda one: (one[1], one[0]))[0] if self.validations else None

    @property
    def stale(self) -> int:
        """The number of validations after the best one."""
        return sum(step > self.best_step for step, _ in self.validations) if self.validations else 0


@dataclass(frozen=True)
class Checkpoints:
    """The folder of one tuning's checkpoints. It keeps the two latest checkpoints and the best weights."""

    place: Place

    def save(self, engine: Engine, progress: Progress) -> None:
        """Write the state after step `progress.step`. All workers call this together."""
        about = asdict(progress) | {"adam_steps": engine.steps}
        folder = self.place / f"step-{progress.step:010d}"
        _write(folder, engine, KINDS, about)
        if _rank() == 0:
            # Later checkpoints are corrupt (this run did not resume from them), so they must not replace this one.
            kept = [one.name for one in self._valid() if one.name <= folder.name][-KEPT:]
            for old in self._folders("step-"):
                if old.name not in kept:
                    old.delete()

    def save_best(self, engine: Engine, step: int) -> None:
        """Write only the weights, as the best so far."""
        _write(self.place / f"best-{step:010d}", engine, KINDS[:1], {"step": step})
        if _rank() == 0:
            for old in self._folders("best-"):
                if not old.name.endswith(f"{step:010d}"):
                    old.delete()

    def resume(self, engine: Engine) -> Progress:
        """Load the latest checkpoint that can be read into `engine`. A corrupt one is logged and skipped."""
        folders = self._valid() if _rank() == 0 else []
        for folder in reversed(_from_first(folders)):
            about = _from_first(_read_about(folder) if _rank() == 0 else None)
            if about is not None and _intact(folder, about):
                engine.begin(about.pop("adam_steps"))
                _load(folder, engine, about.pop("files"))
                about["validations"] = [tuple(one) for one in about["validations"]]
                return Progress(**about)
            if _rank() == 0:
                log.warning("%s: corrupt; the checkpoint before it is taken", folder)
        return Progress()

    def restore_best(self, engine: Engine, step: int) -> None:
        """Load the best weights into `engine`."""
        folder = self.place / f"best-{step:010d}"
        about = _read_about(folder)
        if about is None or not _intact(folder, about):
            raise RuntimeError(
                f"{folder}: the best weights cannot be read; remove {self.place} and tune again"
            )
        _load(folder, engine, about["files"])

    def clear(self) -> None:
        self.place.delete()

    def _valid(self) -> list[Place]:
        return [folder for folder in self._folders("step-") if (folder / ABOUT).exists()]

    def _folders(self, prefix: str) -> list[Place]:
        paths = {file.path.rsplit("/", 1)[0] for file in self.place.files()}
        folders = [Place(self.place.fs, path) for path in sorted(paths)]
        return [folder for folder in folders if folder.name.startswith(prefix)]


def _write(folder: Place, engine: Engine, kinds: tuple[str, ...], about: dict[str, Any]) -> None:
    """Every worker writes its share of the tensors. Then worker 0 writes the file that makes the folder valid."""
    rank, workers = _rank(), _workers()
    if rank == 0:
        folder.delete()
    _barrier()
    own: dict[str, torch.Tensor] = {}
    for number, (name, kind) in enumerate(_tensors(engine, kinds)):
        whole = engine.whole(name, kind)
        if number % workers == rank:
            own[f"{kind}/{name}"] = whole.detach().to("cpu", copy=True).contiguous()
    data = safetensors.torch.save(own)
    file = f"worker-{rank}-of-{workers}.safetensors"
    (folder / file).write_bytes(data)
    written = _from_all((file, len(data), xxhash.xxh3_64_hexdigest(data)))
    if rank == 0:
        about = about | {"files": written}
        (folder / ABOUT).write_json(about | {"checksum": _checksum(about)})
    _barrier()


def _read_about(folder: Place) -> dict[str, Any] | None:
    try:
        about = (folder / ABOUT).read_json()
    except (OSError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    if not isinstance(about, dict) or about.pop("checksum", None) != _checksum(about):
        return None
    return about


def _checksum(about: dict[str, Any]) -> str:
    return xxhash.xxh3_64_hexdigest(json.dumps(about, sort_keys=True).encode())


def _intact(folder: Place, about: dict[str, Any]) -> bool:
    """Whether every file is as it was written. Each worker checks some of them; all get the same answer."""
    fine = True
    for name, size, checksum in about["files"][_rank() :: _workers()]:
        try:
            data = (folder / name).read_bytes()
        except OSError:
            fine = False
        else:
            fine &= len(data) == size and xxhash.xxh3_64_hexdigest(data) == checksum
    return all(_from_all(fine))


def _load(folder: Place, engine: Engine, files: list[list[Any]]) -> None:
    """Put every tensor into `engine`, one at a time, in the same order on all workers."""
    with folder.local() as path:
        for name, _, _ in files:
            with safetensors.safe_open(path / name, framework="pt") as tensors:
                for key in tensors.keys():  # noqa: SIM118
                    kind, _, tensor = key.partition("/")
                    engine.put(tensor, kind, tensors.get_tensor(key))


def _tensors(engine: Engine, kinds: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    return ((name, kind) for name in engine.trained for kind in kinds)


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _workers() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def _barrier() -> None:
    if dist.is_initialized():
        dist.barrier()


def _from_first(value: Any) -> Any:
    """The value that worker 0 has, because other workers may see a change of a shared folder later."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, 0)
    return box[0]


def _from_all(value: Any) -> list[Any]:
    if not dist.is_initialized():
        return [value]
    found: list[Any] = [None] * _workers()
    dist.all_gather_object(found, value)
    return found
