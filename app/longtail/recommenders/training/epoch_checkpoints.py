"""The checkpoints of a training: one safetensors file for each; the two latest are kept.

Those of Ray Train (2.60) also continue on another number of workers and after a lost controller. But a fit without Ray
Train has none, and the second of two reports waits up to 2 s for the controller. So these are ours.
"""

import json
import logging
from dataclasses import dataclass, field

import numpy as np
import safetensors
import safetensors.numpy

from longtail.workspace.place import Place

log = logging.getLogger("longtail")


@dataclass
class Checkpoint:
    """A training after `epoch`: the state of the learner, the best weights so far and the learning curve."""

    epoch: int = 0
    state: dict[str, np.ndarray] = field(default_factory=dict)
    best: dict[str, np.ndarray] = field(default_factory=dict)
    losses: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)
    drops: list[int] = field(default_factory=list)
    """The epochs after which the learning rate was lowered."""

    def note(self, score: float, weights: dict[str, np.ndarray]) -> None:
        """Add the score of a validation, and keep `weights` if the score is the best so far."""
        if not self.scores or score > max(value for _, value in self.scores):
            self.best = {name: np.array(array) for name, array in weights.items()}
        self.scores.append((self.epoch, score))

    @property
    def best_epoch(self) -> int:
        return max(self.scores, key=lambda score: score[1])[0] if self.scores else self.epoch

    @property
    def stale(self) -> int:
        """The number of validations after the best one, or after the learning rate was last lowered if that is later."""
        since = max([self.best_epoch, *self.drops])
        return sum(epoch > since for epoch, _ in self.scores)


@dataclass(frozen=True)
class Checkpoints:
    """The folder with the checkpoints of a training. There are at least `seconds` between two checkpoints."""

    place: Place
    seconds: float = 30.0

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and delete all older ones except the latest of them.

        The file gets its name only after it is complete, so an interrupted `save` leaves no partial checkpoint.
        """
        tensors = {f"state/{name}": array for name, array in checkpoint.state.items()}
        tensors |= {f"best/{name}": array for name, array in checkpoint.best.items()}
        tensors = {name: np.asarray(array, order="C") for name, array in tensors.items()}
        about = {
            name: getattr(checkpoint, name) for name in ("epoch", "losses", "seconds", "scores", "drops")
        }
        data = safetensors.numpy.save(tensors, metadata={"about": json.dumps(about)})
        draft = self.place / ".draft"
        draft.write_bytes(data)
        draft.fs.move(draft.path, (self.place / f"{checkpoint.epoch:08d}.safetensors").path)
        for old in self.place.files(".safetensors")[:-2]:
            old.delete()

    def latest(self) -> Checkpoint | None:
        """The latest checkpoint that can be read, or None. A file that cannot be read is skipped with a warning."""
        for file in reversed(self.place.files(".safetensors")):
            try:
                return _read(file)
            except (safetensors.SafetensorError, KeyError, ValueError, OSError) as error:
                log.warning("%s: cannot be read (%s); the checkpoint before it is taken", file, error)
        return None

    def clear(self) -> None:
        self.place.delete()


def _read(file: Place) -> Checkpoint:
    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["about"])
    tensors = safetensors.numpy.load(data)
    parts: dict[str, dict[str, np.ndarray]] = {"state": {}, "best": {}}
    for name, array in tensors.items():
        part, _, leaf = name.partition("/")
        parts[part][leaf] = array
    about["scores"] = [(epoch, score) for epoch, score in about["scores"]]
    return Checkpoint(**about, **parts)
