"""The typed recipe: one YAML file describes one run.

Unknown keys are rejected with the nearest known key named; `--set a.b=c` changes one value; the resolved recipe is
saved with the results.
"""

from longtail.recipe.augmentation import (
    ColdPairs,
    IdList,
    Insertion,
    Judge,
    NextItem,
    Pairs,
    Price,
    Prices,
    Ranking,
    Screening,
    Slice,
    Strategy,
    StrategySection,
    Sweep,
)
from longtail.recipe.dataset import Columns, Dataset, Repeats, Simulation, TimeUnit
from longtail.recipe.llm import LLM, Discriminator, Generator, Negative, Role, Task, Tuning
from longtail.recipe.loading import check_recipe, dump_recipe, load_recipe
from longtail.recipe.recipe import RANKING, Evaluation, Recipe, Resources, Serving
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
from longtail.recipe.section import Section
from longtail.recipe.tuning import LogRange, Tune

__all__ = [
    "BM25",
    "BPR",
    "ColdPairs",
    "Columns",
    "Dataset",
    "Discriminator",
    "Evaluation",
    "Generator",
    "IdList",
    "Insertion",
    "ItemCF",
    "Judge",
    "LLM",
    "LightGCN",
    "LogRange",
    "MixGCF",
    "Negative",
    "NeuMF",
    "NextItem",
    "Pairs",
    "Popularity",
    "Price",
    "Prices",
    "RANKING",
    "Ranking",
    "Recipe",
    "RecommenderSection",
    "Recommenders",
    "Repeats",
    "Resources",
    "Role",
    "SASRec",
    "SGL",
    "Screening",
    "Section",
    "Serving",
    "Simulation",
    "Slice",
    "Strategy",
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
