"""The figures of a tuning as TensorBoard events."""

import tempfile
from types import TracebackType
from typing import Any, Self

import pyarrow.fs as pafs

from longtail.workspace.place import Place

FLUSH_SECONDS = 10


class Events:
    """Scalars by step, to be viewed with `tensorboard --logdir`.

    `place` is the folder of event files. A local folder can be watched live; any other folder gets its file at `close`. If
    a run continues after a fault, TensorBoard drops the values of earlier files from the run's first step on.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._writer: Any = None
        self._passing: tempfile.TemporaryDirectory[str] | None = None

    def add(self, step: int, **scalars: float) -> None:
        """Write values of `step`. A double underscore in a name groups it (`loss__train` is shown as `loss/train`)."""
        self._writer = self._writer or self._opened(step)
        for name, value in scalars.items():
            self._writer.add_scalar(name.replace("__", "/"), float(value), step)

    def close(self) -> None:
        """Write what is left. May be called more than once."""
        if self._writer is None:
            return
        self._writer.close()
        self._writer = None
        if self._passing is not None:
            self._place.upload(self._passing.name)
            self._passing.cleanup()

    def _opened(self, first_step: int) -> Any:
        from tensorboardX import SummaryWriter

        folder = self._place.path
        if not isinstance(self._place.fs, pafs.LocalFileSystem):
            self._passing = tempfile.TemporaryDirectory()
            folder = self._passing.name
        return SummaryWriter(folder, purge_step=first_step, flush_secs=FLUSH_SECONDS, write_to_disk=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
