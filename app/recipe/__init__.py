"""The typed recipe: one YAML file describes one run.

Unknown keys are rejected with the nearest known key named; `--set a.b=c` changes one value; the resolved recipe is
saved with the results.
"""

from app.recipe.augmentation import Judge, NextItem
from app.recipe.dataset import Columns, Dataset, Simulation
from app.recipe.llm import LLM, Discriminator, Generator, Negative, Task, Tuning
from app.recipe.loading import dump_recipe, load_recipe
from app.recipe.recipe import Evaluation, Recipe, Resources, Serving
from app.recipe.recommenders import (
    BPR,
    SGL,
    VARIANTS,
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
    Variant,
)
from app.recipe.section import Section
from app.recipe.tuning import LogRange, Tune

__all__ = [
    "BPR",
    "Columns",
    "Dataset",
    "Discriminator",
    "Evaluation",
    "Generator",
    "ItemCF",
    "Judge",
    "LLM",
    "LightGCN",
    "LogRange",
    "MixGCF",
    "Negative",
    "NeuMF",
    "NextItem",
    "Popularity",
    "Recipe",
    "RecommenderSection",
    "Recommenders",
    "Resources",
    "SASRec",
    "SGL",
    "Section",
    "Serving",
    "Simulation",
    "Swing",
    "Task",
    "Trained",
    "Tune",
    "Tuning",
    "VARIANTS",
    "Variant",
    "dump_recipe",
    "load_recipe",
]
