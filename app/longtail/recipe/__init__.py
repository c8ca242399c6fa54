"""The typed recipe: one YAML file describes one run.

An unknown key is rejected, and the message names the nearest known key. `--set a.b=c` changes one value. The resolved
recipe is saved with the results.
"""

from longtail.recipe.arm_section import DEFAULT_ARM, Arm
from longtail.recipe.constraint import Constraint
from longtail.recipe.dataset import Columns, Dataset, Repeats, Simulation, TimeUnit
from longtail.recipe.event_settings import ReadEvents, ServedEvents
from longtail.recipe.grid import GridPoint, load_grid
from longtail.recipe.judging import ItemSlice, Judge, Slice, Sweep
from longtail.recipe.llm import LLM, Discriminator, Generator, Negative, Role, Task, Tuning
from longtail.recipe.loading import check_recipe, check_saved, dump_recipe, load_recipe
from longtail.recipe.prices import Price, Prices
from longtail.recipe.recipe import NO_LIST, Evaluation, FusionKind, Recipe, Resources, Serving
from longtail.recipe.recommender_section import RecommenderSection
from longtail.recipe.section import Count, Positive, Section, Share
from longtail.recipe.strategy_section import StrategySection
from longtail.recipe.text_section import TFIDF, Text
from longtail.recipe.tuning import LogRange, Tune

__all__ = [
    "DEFAULT_ARM",
    "NO_LIST",
    "Arm",
    "Columns",
    "Constraint",
    "Count",
    "Dataset",
    "Discriminator",
    "Evaluation",
    "FusionKind",
    "Generator",
    "GridPoint",
    "ItemSlice",
    "Judge",
    "LLM",
    "LogRange",
    "Negative",
    "Positive",
    "Price",
    "Prices",
    "ReadEvents",
    "Recipe",
    "RecommenderSection",
    "Repeats",
    "Resources",
    "Role",
    "Section",
    "ServedEvents",
    "Serving",
    "Share",
    "Simulation",
    "Slice",
    "StrategySection",
    "Sweep",
    "TFIDF",
    "Task",
    "Text",
    "TimeUnit",
    "Tune",
    "Tuning",
    "check_recipe",
    "check_saved",
    "dump_recipe",
    "load_grid",
    "load_recipe",
]
