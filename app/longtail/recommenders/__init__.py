"""Recommenders: `build` one by its name, `load` a saved one, `train` all that the recipe names."""

from importlib import import_module
from typing import TYPE_CHECKING

from longtail.errors import InputError
from longtail.recipe import Recipe, Recommenders, RecommenderSection

if TYPE_CHECKING:
    from longtail.recommenders.interface import Recommender
    from longtail.recommenders.scoring.ranker import Ranker
    from longtail.recommenders.training.compute import Compute
    from longtail.workspace import Workspace
    from longtail.workspace.place import Place

MODELS = {
    "popularity": "popularity.Popularity",
    "itemcf": "itemcf.ItemCF",
    "bm25": "bm25.BM25",
    "swing": "swing.Swing",
    "bpr": "bpr.BPR",
    "neumf": "neumf.NeuMF",
    "lightgcn": "lightgcn.LightGCN",
    "sgl": "sgl.SGL",
    "mixgcf": "mixgcf.MixGCF",
    "sasrec": "sasrec.SASRec",
}
"""Module and class by the name of the section in the recipe; imported when asked for (some need torch)."""

__all__ = ["MODELS", "build", "load", "train"]


def build(
    name: str, section: RecommenderSection, seed: int = 0, compute: "Compute | None" = None
) -> "Ranker":
    """A recommender that is not fitted yet; a trained one will be fitted by the workers of `compute`, by default in
    this process. Raises InputError for a name that is not in MODELS.
    """
    if name not in MODELS:
        raise InputError(f"recommenders.{name}: no such recommender. Known: {', '.join(MODELS)}.")
    module, _, leaf = MODELS[name].partition(".")
    return getattr(import_module(f"longtail.recommenders.models.{module}"), leaf)(section, seed, compute)


def load(place: "Place") -> "Recommender":
    """The recommender that was saved to `place`; nothing there is ever executed."""
    if not (place / "model.json").exists():
        raise InputError(f"{place}: no saved recommender here. Run the stage that makes it: longtail train.")
    from longtail.recommenders.scoring.ranker import check_version

    meta = (place / "model.json").read_json()
    check_version(meta, place)  # before its settings are read: they may be those of another version
    name = meta["model"]
    section = getattr(Recommenders.model_validate({name: meta["section"]}), name)
    return build(name, section, meta["seed"]).load(place)


def train(recipe: Recipe, ws: "Workspace") -> None:
    """Fit and publish every recommender of the recipe on each of its variants; see fitting.py."""
    from longtail.recommenders.training.train_stage import fit_all

    fit_all(recipe, ws)
