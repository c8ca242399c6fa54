"""Recommenders: `build` one by its name, `load` a saved one, `train` all recommenders of a recipe."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from longtail.errors import InputError
from longtail.recipe import Recipe, RecommenderSection
from longtail.registry import recommender_spec, recommenders

if TYPE_CHECKING:
    import numpy as np

    from longtail.recommenders.recommender import Recommender
    from longtail.recommenders.training.compute import Compute
    from longtail.workspace import Workspace
    from longtail.workspace.place import Place

__all__ = ["assemble", "build", "load", "train"]


def build(
    name: str, section: RecommenderSection, seed: int = 0, compute: "Compute | None" = None
) -> "Recommender":
    """Build a recommender that is not fitted yet. Raises InputError if the name is not in the registry.

    `compute` gives the workers that fit a trained recommender; the default is this process.
    """
    _check_known(name)
    model = recommender_spec(name).model
    if isinstance(model, str):
        module, _, leaf = model.rpartition(".")
        model = getattr(import_module(module), leaf)
    return model(name, section, seed, compute)


def load(place: "Place") -> "Recommender":
    """Load the recommender that was saved to `place`; no code from there is executed.

    Raises InputError if there is none, or if another version of Longtail saved it.
    """
    if not (place / "model.json").exists():
        raise InputError(f"{place}: no saved recommender here. Run the stage that makes it: longtail train.")
    from longtail.recommenders.recommender import check_version

    meta = (place / "model.json").read_json()
    check_version(meta, place)  # before its settings are read: another version may have other settings
    return _described(meta).load(place)


def assemble(meta: dict[str, Any], parts: "dict[str, np.ndarray]") -> "Recommender":
    """The fitted recommender with this `Recommender.meta` and these `Recommender.parts`."""
    return _described(meta).assembled(meta["n_items"], parts)


def _described(meta: dict[str, Any]) -> "Recommender":
    """An unfitted recommender with the settings of `meta`."""
    name = meta["model"]
    _check_known(name)
    section = recommender_spec(name).settings.model_validate(meta["section"])
    return build(name, section, meta["seed"])


def _check_known(name: str) -> None:
    if name not in recommenders():
        raise InputError(f"recommenders.{name}: no such recommender. Known: {', '.join(recommenders())}.")


def train(recipe: Recipe, ws: "Workspace") -> None:
    """Fit and publish every recommender of the recipe on each of its variants; see train_stage.py."""
    from longtail.recommenders.training.train_stage import fit_all

    fit_all(recipe, ws)
