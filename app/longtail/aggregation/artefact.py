"""The artefact of the aggregator: what was chosen, in one small file of the workspace. Serving reads it and nothing else of
an evaluation.

`evaluate` writes `aggregator/aggregator.json` as its last step; `longtail fit-aggregator` does only this. `longtail refit`
writes `production/aggregator/aggregator.json`, of the same choice fitted again on the whole log, which is preferred.
"""

import logging
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from longtail.aggregation.choice import FIGURES, Figure, Kind, choose, read_figures
from longtail.aggregation.kinds import ALONE, Fusion, read_fusion
from longtail.errors import InputError
from longtail.recipe import NO_LIST, Recipe, Serving
from longtail.schema import PRODUCTION
from longtail.workspace import Workspace, fingerprint, read_manifest
from longtail.workspace.place import Place

AGGREGATOR = "aggregator"
"""Where the artefact of the evaluated choice is published, relative to the workspace."""
FILE = "aggregator.json"
MEANING = 1
"""The version of the artefact. Raise it if equal figures and settings give another one."""
log = logging.getLogger("longtail")


@dataclass(frozen=True)
class Artefact:
    """What is served: a fitted recommender, and how the LLM's list of each user is fused with it.

    variant: the training set of the recommender. seed_index: of the fit and of the list. list: the strategy that gives the
    lists, None for the recommender alone; fusion: how they are fused, ALONE without a list; kinds: the best fusion of each
    kind on validation. candidates: k', how many of the recommender's items take part.

    users, ndcg: the number of users with a validation item, and their mean NDCG@10, None if there are none; chosen_by:
    `recipe` if its `serving` names some of this. named: what it names.

    data, fit, answers: where the histories, the fitted recommender and the answers with the lists (`rankings/`) are
    published, relative to the workspace; answers is None without a list. made_of: the fingerprint of each of these places.
    refitted: the fingerprint of the evaluated artefact that `refit` fitted again on the whole log; None if this is that one.
    """

    recommender: str
    variant: str
    seed_index: int
    list: str | None
    fusion: Fusion
    kinds: dict[str, Kind]
    candidates: int
    users: int
    ndcg: float | None
    named: dict[str, float | str]
    data: str
    fit: str
    answers: str | None
    made_of: dict[str, str]
    refitted: str | None = None

    @property
    def chosen_by(self) -> Literal["validation", "recipe"]:
        return "recipe" if self.named else "validation"

    @property
    def version(self) -> str:
        """A short hash of all that an answer depends on: it is the `model_version` of the endpoint."""
        return fingerprint(self.made_of, self.fusion.told(), self.candidates, self.list)

    @classmethod
    def of(cls, chosen: Figure, serving: Serving) -> Self:
        """That of a chosen figure."""
        return cls(
            recommender=chosen.recommender,
            variant=chosen.trained_on,
            fusion=chosen.fusion or ALONE,
            candidates=max(chosen.candidates, serving.candidates),
            named=serving.named,
            **{name: getattr(chosen, name) for name in ("seed_index", "list", "kinds", "users", "ndcg")},
            **{name: getattr(chosen, name) for name in ("data", "fit", "answers", "made_of")},
        )

    def check_named(self, serving: Serving) -> None:
        """Raise InputError if a recipe's `serving` names something else than what is served."""
        own = {"recommender": self.recommender, "variant": self.variant, "list": self.list or NO_LIST}
        own |= self.fusion.told() if self.list else {}
        for name, value in serving.named.items():
            if own.get(name) != value:
                raise InputError(
                    f"serving.{name} = {value!r}: the aggregator was fitted with {own.get(name)!r}. Leave it out, or run"
                    f" longtail fit-aggregator with it first."
                )

    def write(self, to: Place) -> None:
        kinds = {name: own.told() for name, own in self.kinds.items()}
        (to / FILE).write_json(asdict(self) | {"fusion": self.fusion.told(), "kinds": kinds})

    @classmethod
    def read(cls, published: Place) -> Self:
        """What `write` wrote to a published place."""
        written: dict[str, Any] = (published / FILE).read_json()
        kinds = {name: Kind.read(own) for name, own in written["kinds"].items()}
        return cls(**written | {"fusion": read_fusion(written["fusion"]), "kinds": kinds})


def fit_aggregator(recipe: Recipe, ws: Workspace) -> None:
    """Publish the artefact: what the recipe's `serving` allows and is best on validation; see `choice.choose`.

    Raises InputError if `evaluate` has not run, or if nothing can be chosen.
    """
    settings = {"named": recipe.serving.named, "candidates": recipe.serving.candidates}
    unit = ws.stage(AGGREGATOR, settings, [ws / FIGURES], MEANING)
    if unit.up_to_date:
        return
    chosen = choose(read_figures(ws), recipe.serving)
    with unit.publishing() as draft:
        Artefact.of(chosen, recipe.serving).write(draft)


def fit_evaluated(recipe: Recipe, ws: Workspace) -> None:
    """As `fit_aggregator`, at the end of an evaluation. If nothing can be chosen, it says so, and there is no artefact."""
    try:
        fit_aggregator(recipe, ws)
    except InputError as error:
        log.warning("Nothing can be served: %s", error)
        with ws.writing() as lease:
            lease.require()
            (ws / AGGREGATOR).delete()


def read_artefact(ws: Workspace) -> Artefact:
    """What is served from a workspace: the choice fitted again on the whole log (`longtail refit`), else the evaluated one.

    Raises InputError if there is none, if one of its places is missing or was published again since, or if the evaluated
    choice is another one since `refit` ran.
    """
    place = PRODUCTION + AGGREGATOR
    if read_manifest(ws / place) is None:
        return read_evaluated(ws)
    found = Artefact.read(ws / place)
    evaluated = read_manifest(ws / AGGREGATOR)
    if evaluated is not None and evaluated["fingerprint"] != found.refitted:
        raise InputError(
            f"{ws}: {place} was fitted again from an older choice than {AGGREGATOR} has now. Run longtail refit again, or"
            f" remove {ws}/{PRODUCTION.strip('/')} to serve what was evaluated."
        )
    return checked(ws, found)


def read_evaluated(ws: Workspace) -> Artefact:
    """What was evaluated, whether it was fitted again or not. Raises InputError as `read_artefact` does."""
    return checked(ws, Artefact.read(ws.require(AGGREGATOR)))


def checked(ws: Workspace, found: Artefact) -> Artefact:
    """The artefact. Raises InputError if one of its places is not the one that it was made of."""
    again = "longtail refit" if found.refitted else "longtail evaluate"
    for place, wanted in found.made_of.items():
        if read_manifest(ws.require(place))["fingerprint"] != wanted:
            raise InputError(
                f"{ws}: {place} was published again since the aggregator was fitted, so its figures are out of date. Run"
                f" {again} again."
            )
    return found
