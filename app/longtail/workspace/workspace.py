"""A workspace: everything that a run makes, in one folder or bucket, published whole or not at all.

A stage writes to a draft and publishes it with a manifest. Readers ignore a place without a manifest. A stage is not run
again if its manifest has the same fingerprint (of its meaning, its settings and its inputs) and all its files are there.
One process at a time writes to a workspace; see `longtail.workspace.lease`.

An ablation has a workspace for each of its points, inside the workspace of the run. Fingerprints do not depend on where a
workspace is. So what one point or the run has published is taken over by all points that would make the same.
"""

import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from longtail import __version__
from longtail.errors import InputError
from longtail.schema import PRODUCTION
from longtail.workspace import swap
from longtail.workspace.lease import Lease, held, keep
from longtail.workspace.place import Place
from longtail.workspace.swap import MANIFEST

RECIPE = "recipe.yaml"
POINTS = "ablation/points"
"""The folder of the workspaces of an ablation's points, in the workspace of the run."""
Lent = dict[tuple[str, str], Place]
"""What a workspace may take over: from the name of a place and its fingerprint to where it is published."""
log = logging.getLogger("longtail")


def fingerprint(*parts: Any) -> str:
    """A short hash of any values that JSON can hold. Equal values give equal fingerprints on every machine."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@dataclass
class Stage:
    """One unit of work that is published whole or not at all.

    `meaning` is the version of the code: raise it if the code gives another outcome for equal settings.
    """

    ws: "Workspace"
    name: str
    settings: Any
    inputs: list[str]
    meaning: int
    counts: dict[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return self.ws / self.name

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.name, self.meaning, self.settings, self.inputs)

    @property
    def up_to_date(self) -> bool:
        """Whether it is published with this fingerprint, and every file of it is still there.

        If not, but another workspace lends the same (`Workspace.point`), it is taken over and published here.
        """
        if self._published(self.place):
            return True
        lent = self.ws.lent.get((self.name, self.fingerprint))
        manifest = self._published(lent) if lent else None
        if not manifest:
            return False
        with self.ws.writing() as lease:
            lease.require()
            swap.take_over(lent, self.place, {"taken_from": self.ws.below_lease(lent)} | manifest)
            self.ws.save_recipe()
        log.info("%s: as in %s", self.name, manifest.get("taken_from") or self.ws.below_lease(lent))
        return True

    def _published(self, place: Place) -> dict[str, Any] | None:
        """The manifest of `place` if it has this fingerprint and every file of it is still there, else None."""
        manifest = read_manifest(place)
        if manifest is None or manifest["fingerprint"] != self.fingerprint:
            return None
        lost = lost_files(place, manifest)
        if lost:
            log.warning("%s: %s is missing or truncated; it is made again", place, lost[0])
        return None if lost else manifest

    @contextmanager
    def publishing(self) -> Iterator[Place]:
        """A draft to write to. It is published as `self.place` if the block succeeds, and deleted if the block fails.

        Raises InputError if another process writes to this workspace, or if the draft was removed in the meantime.
        """
        with self.ws.writing() as lease:
            draft = swap.begin(self.place)
            log.info("%s …", self.name)
            started = time.monotonic()
            try:
                yield draft
                seconds = time.monotonic() - started
                lease.require()
                swap.publish(draft, self.place, self._manifest(seconds))
            except BaseException:
                draft.delete()
                raise
            self.ws.save_recipe()
        log.info("%s: %.1f s", self.name, seconds)

    def _manifest(self, seconds: float) -> dict[str, Any]:
        return {
            "stage": self.name,
            "fingerprint": self.fingerprint,
            "meaning": self.meaning,
            "settings": self.settings,
            "inputs": self.inputs,
            "counts": self.counts,
            "seconds": round(seconds, 3),
            "finished": time.time(),
            "version": __version__,
            "recipe": self.ws.recipe,
        }


def read_manifest(place: Place) -> dict[str, Any] | None:
    """The manifest of a published place, or None."""
    try:
        found = (place / MANIFEST).read_json()
    except FileNotFoundError:
        return None
    if "meaning" not in found:
        return None  # written before version 0.3, when fingerprints did not include `meaning`
    return found


def lost_files(place: Place, manifest: dict[str, Any]) -> list[str]:
    """The files of a published place that are missing or have another size than its manifest says, sorted."""
    return sorted(path for path, _ in manifest["files"].items() - swap.sizes(place).items())


class Workspace:
    """The folder or bucket of one run, and the recipe of the command that uses it (None: it has no recipe).

    `STAGES` lists the folders in it.
    """

    def __init__(self, uri: str, recipe: dict[str, Any] | None = None) -> None:
        """Raises InputError if this is the path of a file, or a URI that cannot be opened. Nothing is written yet."""
        self.root = Place.named(uri, "--workspace")
        self.recipe = recipe
        self.outer: Workspace | None = None
        """The workspace of the run, if this is that of a point of an ablation."""
        self.lent: Lent = {}
        # A bucket has no real folders: only in a local file system a file can be in the way of one.
        for folder in [self.root, *(self.root.parents if self.root.is_local else [])]:
            if folder.is_file():
                raise InputError(
                    f"--workspace = {uri!r}: {folder} is a file. Give a folder, which may be a new one."
                )

    @classmethod
    def of_run(cls, uri: str, recipe: dict[str, Any]) -> "Workspace":
        """The workspace for a run of this resolved recipe; nothing is written to it yet.

        Raises InputError if it holds the run of another recipe.
        """
        ws = cls(uri, recipe)
        other = ws.saved_recipe()
        if other is not None and other.get("name") != recipe["name"]:
            raise InputError(
                f"{ws}: holds the run of recipe '{other.get('name')}', this is '{recipe['name']}'. "
                "Give another --workspace, or remove that one."
            )
        return ws

    def point(self, name: str, recipe: dict[str, Any], lent: Lent) -> "Workspace":
        """The workspace of a point of an ablation, inside this one and under its lease.

        What is `lent` is not made again: a stage whose place and fingerprint are in it is taken over from there.
        """
        found = Workspace((self / POINTS / name).uri, recipe)
        found.outer, found.lent = self, lent
        return found

    def __str__(self) -> str:
        return self.root.path

    def __truediv__(self, name: str) -> Place:
        return self.root / name

    def stage(self, place: str, settings: Any, inputs: list[Place] | None = None, meaning: int = 1) -> Stage:
        """The unit of work that makes `place` from published `inputs`.

        Raises InputError if an input is not published yet, naming the stage to run first.
        """
        hashes = []
        for source in inputs or []:
            manifest = read_manifest(source)
            if manifest is None:
                raise InputError(
                    f"{self}: {self._relative(source)} is missing. Run the stage that makes it:"
                    f" {_maker(self._relative(source))}."
                )
            hashes.append(manifest["fingerprint"])
        return Stage(self, place, settings, hashes, meaning)

    def require(self, place: str) -> Place:
        """A published place. Raises InputError if it is not published, naming the stage to run."""
        if read_manifest(self / place) is None:
            raise InputError(f"{self}: {place} is missing. Run the stage that makes it: {_maker(place)}.")
        return self / place

    def manifests(self) -> dict[str, dict[str, Any]]:
        """The manifest of every published place, by path, in the order of paths; without those of an ablation's points."""
        read = {name: read_manifest(at) for name, at in self._places() if not name.startswith(f"{POINTS}/")}
        return {place: manifest for place, manifest in read.items() if manifest is not None}

    def keep(self, place: str, folder: str) -> None:
        """Keep what is published at `place` as `folder/1`, or the next number, unless the same is kept there already."""
        manifest = read_manifest(self / place)
        kept = [read_manifest(at) for name, at in self._places() if name.startswith(f"{folder}/")]
        if manifest and manifest["fingerprint"] not in {one["fingerprint"] for one in kept if one}:
            with self.writing() as lease:
                lease.require()
                swap.take_over(self / place, self / f"{folder}/{len(kept) + 1}", manifest)

    def lends(self) -> Lent:
        """Everything that this workspace and the points inside it have published, for `point`."""
        found: Lent = {}
        for name, at in self._places():
            inner = name.removeprefix(f"{POINTS}/")
            own = name if inner == name else inner.partition("/")[2]
            if (manifest := read_manifest(at)) is not None:
                found.setdefault((own, manifest["fingerprint"]), at)
        return found

    def _places(self) -> Iterator[tuple[str, Place]]:
        """The folders with a manifest, with their paths in here, in the order of paths."""
        for file in self.root.files(MANIFEST):
            if not swap.is_draft(file, self.root):
                yield self._relative(file.parent), file.parent

    def claim(self) -> None:
        """Take the lease for the rest of this command, before any expensive work.

        Raises InputError if another process writes here, if nothing can be written, or if the disk is nearly full.
        """
        self._check_space()
        keep(self._leased, self._recover)

    def writing(self) -> AbstractContextManager[Lease]:
        """Hold the lease during a block that writes. Taking it also repairs what a dead writer left unfinished."""
        return held(self._leased, self._recover)

    @property
    def _leased(self) -> Place:
        """The folder that the lease is for."""
        return (self.outer or self).root

    def below_lease(self, place: Place) -> str:
        """The path of a place, relative to the folder that the lease is for."""
        return place.path.removeprefix(self._leased.path).strip("/")

    def _recover(self) -> None:
        swap.recover(self._leased)

    def save_recipe(self) -> None:
        """Write `recipe.yaml`: the recipe of the command that published last."""
        if self.recipe is None:
            return
        data = yaml.safe_dump(self.recipe, sort_keys=False).encode()
        saved = self / RECIPE
        if not saved.exists() or saved.read_bytes() != data:
            saved.replace_bytes(data)

    def saved_recipe(self) -> dict[str, Any] | None:
        """What `save_recipe` wrote; None if nothing is published yet. Raises InputError if it is not a recipe."""
        saved = self / RECIPE
        try:
            found = yaml.safe_load(saved.read_bytes())
        except FileNotFoundError:
            return None
        except (yaml.YAMLError, UnicodeDecodeError):
            found = None
        if not isinstance(found, dict):
            raise InputError(f"{saved}: is not the recipe of a run. Give another --workspace, or remove it.")
        return found

    def _check_space(self, needed_gib: float = 1.0) -> None:
        """Raise InputError if the disk is nearly full: the errors of engines do not say so clearly."""
        if not self.root.is_local:
            return
        folder = next(folder for folder in [self.root, *self.root.parents] if folder.exists())
        free = shutil.disk_usage(folder.path or os.sep).free / 2**30
        if free < needed_gib:
            raise InputError(
                f"{self}: {free:.2f} GiB of disk left, {needed_gib:.1f} needed. Free space, or give another --workspace."
            )

    def _relative(self, place: Place) -> str:
        return place.path.removeprefix(self.root.path).strip("/")


STAGES = {
    "data": "prepare",
    "text": "embed",
    "examples": "finetune",
    "llm": "finetune",
    "gates": "augment",
    "augmentation": "augment",
    "fused": "fuse",
    "stand_ins": "fuse",
    "tuning": "tune",
    "sweep": "sweep",
    "recommenders": "train",
    "evaluation": "evaluate",
    "aggregator": "evaluate",
    "added": "add-items",
    "report": "report",
    "reports": "report",
    "ablation": "ablate",
}
"""The folders of a workspace in the order of a run, and the stage that makes each."""


def stage_of(place: str) -> str | None:
    """The stage that makes a place, relative to its workspace. Folders of rounds and seeds may come before its own."""
    parts = place.split("/")
    if PRODUCTION.strip("/") in parts:
        return "refit"
    return next((STAGES[part] for part in reversed(parts) if part in STAGES), None)


def _maker(place: str) -> str:
    return f"longtail {stage_of(place) or 'run'}"
