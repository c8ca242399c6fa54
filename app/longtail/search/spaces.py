"""Which settings of a recommender are worth a search, and the trials that are drawn from them."""

import numpy as np
from pydantic import ValidationError

from longtail.errors import InputError
from longtail.recipe import LogRange, Recipe, RecommenderSection
from longtail.recipe.tuning import Axis

Space = dict[str, Axis]

_RECENCY: Axis = [0.6, 0.7, 0.8, 0.9, 1.0]
_NEIGHBOURS: Axis = [20, 50, 100, 200]
_LEARNING: Space = {"lr": LogRange(log=(3e-4, 1e-2)), "l2": LogRange(log=(1e-6, 1e-2))}
_GRAPH: Space = _LEARNING | {"layers": [1, 2, 3, 4]}

SPACES: dict[str, Space] = {
    "popularity": {},
    "itemcf": {
        "normalisation": [0.3, 0.4, 0.5],
        "user_weight": ["none", "log"],
        "neighbours": _NEIGHBOURS,
        "recency": _RECENCY,
    },
    "bm25": {"neighbours": _NEIGHBOURS, "recency": _RECENCY},
    "swing": {
        "alpha": [0.0, 1.0, 5.0, 20.0],
        "user_weight": [0.0, 0.5, 1.0],
        "neighbours": _NEIGHBOURS,
        "recency": _RECENCY,
    },
    "bpr": _LEARNING,
    "neumf": _LEARNING | {"negatives": [2, 4, 8], "dropout": [0.0, 0.2, 0.5]},
    "lightgcn": _GRAPH,
    "sgl": _GRAPH
    | {
        "contrast_weight": LogRange(log=(0.005, 0.5)),
        "temperature": [0.1, 0.2, 0.5],
        "dropout": [0.1, 0.2, 0.4],
    },
    "mixgcf": _GRAPH | {"negatives": [16, 32, 64]},
    "sasrec": {
        "lr": LogRange(log=(3e-4, 5e-3)),
        "layers": [1, 2, 3],
        "dropout": [0.1, 0.2, 0.3, 0.5],
        "l2": [0.0, 1e-6, 1e-5, 1e-4],
    },
}
"""The defaults, by recommender. The size (`dim`) and the length of a training stay the recipe's."""

_DRAWS_PER_TRIAL = 100


def space_of(recipe: Recipe, name: str) -> Space:
    """The default space of a recommender with the recipe's changes."""
    own = {key.partition("."): axis for key, axis in recipe.tune.space.items()}
    return SPACES[name] | {setting: axis for (model, _, setting), axis in own.items() if model == name}


def draw(recipe: Recipe, name: str) -> list[RecommenderSection]:
    """The trials: the recipe's own settings, then distinct ones from the space, at most `tune.samples` in all.

    Drawn by the recipe's seed. Raises InputError for a value that the recommender does not take.
    """
    section, space = recipe.recommenders.chosen()[name], space_of(recipe, name)
    _check(recipe, name, section)
    rng = np.random.default_rng(recipe.seed)
    trials = [section]
    for _ in range(_DRAWS_PER_TRIAL * recipe.tune.samples if space else 0):
        if len(trials) >= recipe.tune.samples:
            break
        try:
            trial = _changed(section, {setting: _draw(axis, rng) for setting, axis in space.items()})
        except ValidationError:  # values that do not go together
            continue
        if trial not in trials:
            trials.append(trial)
    return trials


def _check(recipe: Recipe, name: str, section: RecommenderSection) -> None:
    """Raise InputError for a value of the recipe's own space that the recommender does not take."""
    for key, axis in recipe.tune.space.items():
        model, _, setting = key.partition(".")
        for value in (axis.log if isinstance(axis, LogRange) else axis) if model == name else ():
            try:
                _changed(section, {setting: value})
            except ValidationError as error:
                raise InputError(f"tune.space: {key} = {value!r}: {error.errors()[0]['msg']}.") from None


def _draw(axis: Axis, rng: np.random.Generator) -> object:
    if not isinstance(axis, LogRange):
        return axis[rng.integers(len(axis))]
    low, high = np.log(axis.log)
    return float(np.clip(float(f"{np.exp(rng.uniform(low, high)):.3g}"), *axis.log))


def _changed(section: RecommenderSection, values: dict[str, object]) -> RecommenderSection:
    """The section with some values set; a number for a whole-numbered setting is rounded."""
    fields = type(section).model_fields
    values = {
        setting: round(value) if fields[setting].annotation is int and isinstance(value, float) else value
        for setting, value in values.items()
    }
    return type(section).model_validate(section.model_dump() | values)
