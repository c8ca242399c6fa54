"""Longtail: recommendation where data is thin. `README.md` gives a tour, `app/longtail/cli.py` has the command.

    run = longtail.run("my.yaml", workspace="runs/mine")     # or longtail.open("runs/mine")
    run.metrics                                              # a pandas data frame
    run.recommend("u42", k=10)
    longtail.Swing(recency=0.7).fit(interactions).similar("i7", k=10)

Large libraries are imported only when they are used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.3.0"
FACE = {
    "run": "longtail.api.run",
    "open": "longtail.api.run",
    "Run": "longtail.api.run",
    "InputError": "longtail.errors",
}
"""From a public name to the module that defines it."""
RECOMMENDERS = (
    "Popularity",
    "ItemCF",
    "BM25",
    "Swing",
    "EASE",
    "RP3beta",
    "BPR",
    "NeuMF",
    "LightGCN",
    "SGL",
    "MixGCF",
    "SASRec",
    "TextOrder",
    "Content",
    "Mapped",
)

__all__ = [*FACE, *RECOMMENDERS, "__version__"]


def __getattr__(name: str) -> Any:
    if name in FACE:
        return getattr(import_module(FACE[name]), name)
    if name[:1].isupper():
        from longtail.api.table_recommender import recommender_class, recommender_names

        if name in (known := recommender_names()):
            return recommender_class(known[name])
    raise AttributeError(f"module 'longtail' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
