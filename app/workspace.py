"""Places, manifests, publish and resume: everything a run makes lies in one workspace, local or any `pyarrow.fs` URI.

A stage writes to a temporary place and publishes it with a manifest; a place without a manifest does not exist for a
reader. A stage whose manifest carries the same fingerprint (settings and the fingerprints of its inputs) is not run again.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow.fs as pafs

from app import __version__
from app.errors import InputError
from app.place import Place

MANIFEST = "_manifest.json"
log = logging.getLogger("longtail")


def fingerprint(*parts: Any) -> str:
    """A short hash of anything JSON can say; equal settings and inputs give equal fingerprints on every machine."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass
class Stage:
    """One unit of work that is published whole or not at all."""

    place: Place
    name: str
    settings: Any
    inputs: list[str]
    counts: dict[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.name, self.settings, self.inputs)

    @property
    def up_to_date(self) -> bool:
        manifest = read_manifest(self.place)
        return manifest is not None and manifest["fingerprint"] == self.fingerprint

    @contextmanager
    def publishing(self) -> Iterator[Place]:
        """A temporary place to write to; becomes `self.place` when the block ends well, vanishes when it does not."""
        fs, path = self.place.fs, self.place.path
        parent, _, leaf = path.rpartition("/")
        draft = Place(fs, f"{parent}/.draft-{leaf}-{os.getpid()}-{time.monotonic_ns()}").make_folder()
        log.info("%s …", self.name)
        started = time.monotonic()
        try:
            yield draft
            seconds = time.monotonic() - started
            manifest = {
                "stage": self.name,
                "fingerprint": self.fingerprint,
                "settings": self.settings,
                "inputs": self.inputs,
                "counts": self.counts,
                "seconds": round(seconds, 3),
                "version": __version__,
            }
            _swap(draft, self.place, manifest)
        except BaseException:
            draft.delete()
            raise
        log.info("%s: %.1f s", self.name, seconds)


def _swap(draft: Place, place: Place, manifest: dict[str, Any]) -> None:
    """Put `draft` where `place` is; whoever looks in between sees no manifest, hence nothing."""
    (place / MANIFEST).delete()
    place.delete()
    if isinstance(place.fs, pafs.LocalFileSystem):
        (draft / MANIFEST).write_json(manifest)
        os.rename(draft.path, place.path)
        return
    # Object stores cannot rename a folder: the manifest is copied last, as the commit.
    place.make_folder()
    pafs.copy_files(draft.path, place.path, source_filesystem=draft.fs, destination_filesystem=place.fs)
    (place / MANIFEST).write_json(manifest)
    draft.delete()


def read_manifest(place: Place) -> dict[str, Any] | None:
    """The manifest of a published place, or None."""
    manifest = place / MANIFEST
    return manifest.read_json() if manifest.exists() else None


class Workspace:
    """The folder or bucket of one run.

    The places in it are named by the table «What happens» of the README.
    """

    def __init__(self, uri: str) -> None:
        self.root = Place.at(uri, "--workspace")

    def __str__(self) -> str:
        return self.root.path

    def __truediv__(self, name: str) -> Place:
        return self.root / name

    def stage(self, place: str, settings: Any, inputs: list[Place] | None = None) -> Stage:
        """The unit of work that makes `place` from published `inputs`.

        Raises InputError where an input is not published yet, naming the stage to run first.
        """
        hashes = []
        for source in inputs or []:
            manifest = read_manifest(source)
            if manifest is None:
                raise InputError(
                    f"{self}: {self._relative(source)} is missing. Run the stage that makes it: {_maker(source)}."
                )
            hashes.append(manifest["fingerprint"])
        return Stage(self / place, place, settings, hashes)

    def require(self, place: str) -> Place:
        """A published place; InputError names the stage to run where it is not there."""
        if read_manifest(self / place) is None:
            raise InputError(
                f"{self}: {place} is missing. Run the stage that makes it: {_maker(self / place)}."
            )
        return self / place

    def manifests(self) -> dict[str, dict[str, Any]]:
        """Every published place and its manifest, oldest path first."""
        found = [file for file in self.root.files(MANIFEST) if "/.draft-" not in file.path]
        return {self._relative(file).rsplit("/", 1)[0]: file.read_json() for file in found}

    def clean(self) -> None:
        """Remove what a run that was cut off left behind."""
        for info in self.root.fs.get_file_info(
            pafs.FileSelector(self.root.path, recursive=True, allow_not_found=True)
        ):
            if info.type == pafs.FileType.Directory and info.base_name.startswith(".draft-"):
                Place(self.root.fs, info.path).delete()

    def check_space(self, needed_gib: float = 1.0) -> None:
        """Raise InputError where a local workspace has less than `needed_gib` left: engines die badly without space."""
        if not isinstance(self.root.fs, pafs.LocalFileSystem):
            return
        free = shutil.disk_usage(self.root.make_folder().path).free / 2**30
        if free < needed_gib:
            raise InputError(
                f"{self}: {free:.2f} GiB of disk left, {needed_gib:.1f} needed. Free some, or give another --workspace."
            )

    def _relative(self, place: Place) -> str:
        return place.path.removeprefix(self.root.path).strip("/")


STAGES = {
    "data": "prepare",
    "examples": "finetune",
    "llm": "finetune",
    "augmentation": "augment",
    "fused": "fuse",
    "tuning": "tune",
    "sweep": "sweep",
    "recommenders": "train",
    "evaluation": "evaluate",
    "report": "report",
}
"""Which stage makes what lies below each folder of a workspace, in the order of a run."""


def _maker(place: Place) -> str:
    stage = next((STAGES[part] for part in reversed(place.path.split("/")) if part in STAGES), "run")
    return f"longtail {stage}"
