"""Recommenders: `build` one by its name, `load` a saved one, `train` all that the recipe names."""

from importlib import import_module
from typing import TYPE_CHECKING

from longtail.errors import InputError
from longtail.recipe import Recipe, RecommenderSection
from longtail.registry import recommender_spec, recommenders

if TYPE_CHECKING:
    from longtail.recommenders.recommender import Recommender
    from longtail.recommenders.training.compute import Compute
    from longtail.workspace import Workspace
    from longtail.workspace.place import Place

__all__ = ["build", "load", "train"]


def build(
    name: str, section: RecommenderSection, seed: int = 0, compute: "Compute | None" = None
) -> "Recommender":
    """A recommender that is not fitted yet; a trained one will be fitted by the workers of `compute`, by default in
    this process. Raises InputError for a name that is not in the registry.
    """
    _check_known(name)
    model = recommender_spec(name).model
    if isinstance(model, str):
        module, _, leaf = model.rpartition(".")
        model = getattr(import_module(module), leaf)
    return model(name, section, seed, compute)


def load(place: "Place") -> "Recommender":
    """The recommender that was saved to `place`; nothing there is ever executed."""
    if not (place / "model.json").exists():
        raise InputError(f"{place}: no saved recommender here. Run the stage that makes it: longtail train.")
    from longtail.recommenders.recommender import check_version

    meta = (place / "model.json").read_json()
    check_version(meta, place)  # before its settings are read: they may be those of another version
    name = meta["model"]
    _check_known(name)
    section = recommender_spec(name).settings.model_validate(meta["section"])
    return build(name, section, meta["seed"]).load(place)


def _check_known(name: str) -> None:
    if name not in recommenders():
        raise InputError(f"recommenders.{name}: no such recommender. Known: {', '.join(recommenders())}.")


def train(recipe: Recipe, ws: "Workspace") -> None:
    """Fit and publish every recommender of the recipe on each of its variants; see train_stage.py."""
    from longtail.recommenders.training.train_stage import fit_all

    fit_all(recipe, ws)
