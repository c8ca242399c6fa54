"""What a workspace has to serve: the recipe of its run, and what every arm of the aggregator is made of."""

from longtail.aggregation.arm_artefacts import read_arms
from longtail.errors import InputError
from longtail.recipe import Recipe, Serving, check_saved
from longtail.serving.versions.version_arrays import Sources
from longtail.workspace import Workspace


def sources_of(ws: Workspace, serving: Serving) -> Sources:
    """What all arms are made of, with the items that were added since. Raises InputError if the workspace lacks what is
    served, a file of it, or what `serving` names.
    """
    return trained_sources(ws, serving).with_added(ws)


def trained_sources(ws: Workspace, serving: Serving) -> Sources:
    """The same without the items that were added. Raises InputError as `sources_of`."""
    ws.require("data")
    return Sources.of(ws, read_arms(ws, serving))


def read_recipe(ws: Workspace) -> Recipe:
    """The resolved recipe that the run saved. Raises InputError if there is no run, or one of another version."""
    saved = ws.saved_recipe()
    if saved is None:
        raise InputError(
            f"{ws}: no recipe.yaml, so there is no run here. Start one: longtail run RECIPE --workspace {ws}."
        )
    return check_saved(saved, f"{ws}/recipe.yaml", "Run it again: longtail run RECIPE.")
