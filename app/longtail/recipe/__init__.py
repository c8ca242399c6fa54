"""The typed recipe: one YAML file describes one run.

Unknown keys are rejected with the nearest known key named; `--set a.b=c` changes one value; the resolved recipe is
saved with the results.
"""

from longtail.recipe.dataset import Columns, Dataset, Repeats, Simulation, TimeUnit
from longtail.recipe.judging import ItemSlice, Judge, Slice, Sweep
from longtail.recipe.llm import LLM, Discriminator, Generator, Negative, Role, Task, Tuning
from longtail.recipe.loading import check_recipe, dump_recipe, load_recipe
from longtail.recipe.prices import Price, Prices
from longtail.recipe.recipe import Evaluation, Recipe, Resources, Serving
from longtail.recipe.recommenders import (
    BM25,
    BPR,
    SGL,
    ItemCF,
    LightGCN,
    MixGCF,
    NeuMF,
    Popularity,
    Recommenders,
    RecommenderSection,
    SASRec,
    Swing,
    Trained,
)
from longtail.recipe.section import Count, Positive, Section, Share
from longtail.recipe.strategy_section import StrategySection
from longtail.recipe.tuning import LogRange, Tune

__all__ = [
    "BM25",
    "BPR",
    "Columns",
    "Count",
    "Dataset",
    "Discriminator",
    "Evaluation",
    "Generator",
    "ItemCF",
    "ItemSlice",
    "Judge",
    "LLM",
    "LightGCN",
    "LogRange",
    "MixGCF",
    "Negative",
    "NeuMF",
    "Popularity",
    "Positive",
    "Price",
    "Prices",
    "Recipe",
    "RecommenderSection",
    "Recommenders",
    "Repeats",
    "Resources",
    "Role",
    "SASRec",
    "SGL",
    "Section",
    "Serving",
    "Share",
    "Simulation",
    "Slice",
    "StrategySection",
    "Sweep",
    "Swing",
    "Task",
    "TimeUnit",
    "Trained",
    "Tune",
    "Tuning",
    "check_recipe",
    "dump_recipe",
    "load_recipe",
]
