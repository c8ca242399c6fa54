"""All arrays of one version, from the places of a workspace that its arms name.

`Sources` says what a version is made of. Equal sources give equal arrays.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from longtail.aggregation.artefact import Artefact
from longtail.aggregation.llm_lists import LLMLists
from longtail.data import read_histories
from longtail.errors import InputError
from longtail.recommenders import load
from longtail.recommenders.interactions import Interactions
from longtail.serving.versions.added_items import ADDED, Added, added_to
from longtail.serving.versions.evidence import Evidence
from longtail.serving.versions.mapped_arrays import Array
from longtail.serving.versions.served_items import ServedItems
from longtail.serving.versions.served_users import ServedUsers
from longtail.workspace import Workspace, fingerprint, lost_files, read_manifest, stage_of
from longtail.workspace.place import Place

LAYOUT = 1
"""The version of how the arrays are named and what they mean."""


@dataclass(frozen=True)
class Sources:
    """What a version is made of. arms: by name. made_of: the fingerprint of each place, by its path in the workspace.
    training: the place of the training set of each fit, if it is still there. added: the items that came after training.
    """

    arms: dict[str, Artefact]
    made_of: dict[str, str]
    training: dict[str, str]
    added: Added | None = None

    @classmethod
    def of(cls, ws: Workspace, arms: dict[str, Artefact]) -> "Sources":
        """Raises InputError if a place of an arm is missing or incomplete, or if the arms have different data."""
        if len(data := sorted({one.data for one in arms.values()})) > 1:
            raise InputError(
                f"serving: its arms are of different data, {' and '.join(data)}. Serve those of one."
            )
        answers = {one.answers for one in arms.values() if one.answers}
        places = [*data, *sorted({one.fit for one in arms.values()}), *sorted(answers)]
        training = {one.fit: place for one in arms.values() if (place := _training_set(ws, one))}
        made_of = {place: _complete(ws.require(place)) for place in [*places, *training.values()]}
        return cls(arms, made_of, training)

    def with_added(self, ws: Workspace) -> "Sources":
        """With the items that were added after training. Raises InputError as `added_to`, or if a file of them is lost."""
        added = added_to(ws, self.data, {fit: self.made_of[fit] for fit in self.fits})
        if added is None:
            return self
        return replace(self, added=added, made_of=self.made_of | {ADDED: _complete(ws / ADDED)})

    @property
    def data(self) -> str:
        return next(iter(self.arms.values())).data

    @property
    def n_added(self) -> int:
        """The number of items that came after training. They have the last codes."""
        return self.added.n if self.added else 0

    @property
    def fits(self) -> list[str]:
        return list(dict.fromkeys(one.fit for one in self.arms.values()))

    @property
    def answers(self) -> list[str]:
        return list(dict.fromkeys(one.answers for one in self.arms.values() if one.answers))

    @property
    def candidates(self) -> dict[str, int]:
        """By fit the largest number of candidates of its arms."""
        return {fit: max(one.candidates for one in self.arms.values() if one.fit == fit) for fit in self.fits}

    @property
    def version(self) -> str:
        """A short hash of all that an answer depends on; that of the artefact if there is one arm and nothing was added."""
        versions = [one.version for one in self.arms.values()]
        versions += [self.made_of[ADDED]] if self.added else []
        return versions[0] if len(versions) == 1 else fingerprint(versions)

    @property
    def arrays(self) -> str:
        """A short hash of all that the arrays depend on."""
        return fingerprint(LAYOUT, self.made_of, self.fits, self.answers, self.candidates)


def read_arrays(ws: Workspace, sources: Sources) -> Iterator[tuple[str, Array]]:
    """The arrays, with their names, one at a time: users/, items/, fits/<n>/, training/<n>/ and lists/<n>/.

    n is the number of a fit or of answers in `sources`. Raises InputError if the parts do not fit together.
    """
    data = ws / sources.data
    items = (data / "items.parquet").read_table().sort_by("item")
    users = read_histories(data)
    n_items, n_users = len(items), len(users)
    if sources.added:
        items = sources.added.catalogue(ws, items)
    n_served = len(items)
    yield from _named("items", ServedItems.read(items))
    yield from _named("users", ServedUsers.read(users))
    del items, users
    for number, fit in enumerate(sources.fits):
        model = load(ws / fit)
        if (model.n_items, len(model.seen)) != (n_items, n_users):
            raise InputError(
                f"{ws / fit}: it was fitted on {len(model.seen)} users and {model.n_items} items, but {data} has"
                f" {n_users} and {n_items}. Run longtail train again."
            )
        if sources.added:
            model = sources.added.extended(ws, fit, model)
        yield from _named(f"fits/{number}", iter(model.parts().items()))
        if fit in sources.training:
            table = (ws / sources.training[fit] / "interactions").read_table()
            train = Interactions.from_table(table, n_served)
            yield from _named(f"training/{number}", Evidence.read(train))
    for number, answers in enumerate(sources.answers):
        lists = LLMLists.read(ws / answers / "rankings", n_users)
        yield from _named(f"lists/{number}", iter(vars(lists).items()))


def fit_meta(ws: Workspace, sources: Sources) -> list[dict]:
    """The `model.json` of each fit, of as many items as are served."""
    metas = [(ws / fit / "model.json").read_json() for fit in sources.fits]
    return [meta | {"n_items": meta["n_items"] + sources.n_added} for meta in metas]


def check_unchanged(ws: Workspace, sources: Sources) -> None:
    """Raise InputError if a place was published again since `sources` were read."""
    for place, known in sources.made_of.items():
        manifest = read_manifest(ws / place)
        if manifest is None or manifest["fingerprint"] != known:
            raise InputError(
                f"{ws}: {place} was rewritten while it was read. Try again when the run has ended."
            )


def _named(folder: str, arrays: Iterator[tuple[str, Array]]) -> Iterator[tuple[str, Array]]:
    return ((f"{folder}/{name}", array) for name, array in arrays)


def _training_set(ws: Workspace, chosen: Artefact) -> str | None:
    """The place of the training set that a fit was made from; None if that one is no longer there."""
    manifest = read_manifest(ws / chosen.fit)
    made_from = set(manifest["inputs"]) if manifest else set()
    folder = chosen.fit.partition("recommenders/")[0]
    first_seed = folder.removeprefix(f"seed-{chosen.seed_index}/")
    names = (chosen.variant, f"{chosen.variant}-{chosen.recommender}")
    for place in (f"{at}fused/{name}" for at in dict.fromkeys((folder, first_seed)) for name in names):
        found = read_manifest(ws / place)
        if found and found["fingerprint"] in made_from:
            return place
    return None


def _complete(place: Place) -> str:
    """The fingerprint of a published place. Raises InputError if a file of it is missing or truncated."""
    manifest, maker = read_manifest(place), stage_of(place.path) or "run"
    if lost := lost_files(place, manifest):
        raise InputError(
            f"{place}/{lost[0]} is missing or truncated. Run the stage that makes it again: longtail {maker}."
        )
    return manifest["fingerprint"]
