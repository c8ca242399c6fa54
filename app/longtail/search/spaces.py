"""Search spaces: the settings of each recommender that are searched, and the trials that are drawn from them."""

import numpy as np
from pydantic import ValidationError

from longtail.errors import InputError
from longtail.recipe import LogRange, Recipe, RecommenderSection
from longtail.recipe.tuning import Axis, Space
from longtail.registry import recommender_spec

_DRAWS_PER_TRIAL = 100


def space_of(recipe: Recipe, name: str) -> Space:
    """The default space of a recommender with the recipe's changes."""
    own = {key.partition("."): axis for key, axis in recipe.tune.space.items()}
    return recommender_spec(name).space | {
        setting: axis for (model, _, setting), axis in own.items() if model == name
    }


def draw(recipe: Recipe, name: str) -> list[RecommenderSection]:
    """The trials: first the recipe's own settings, then different ones from the space, at most `tune.samples` in all.

    They are drawn with the recipe's seed. Raises InputError if the recommender does not allow a value of the space.
    """
    section, space = recipe.recommenders[name], space_of(recipe, name)
    _check(recipe, name, section)
    rng = np.random.default_rng(recipe.seed)
    trials = [section]
    for _ in range(_DRAWS_PER_TRIAL * recipe.tune.samples if space else 0):
        if len(trials) >= recipe.tune.samples:
            break
        try:
            trial = _changed(section, {setting: _draw(axis, rng) for setting, axis in space.items()})
        except ValidationError:  # these values are not allowed together
            continue
        if trial not in trials:
            trials.append(trial)
    return trials


def _check(recipe: Recipe, name: str, section: RecommenderSection) -> None:
    """Raise InputError if the recommender does not allow a value of the recipe's own space."""
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
    """The section with some values changed. The value of an integer setting is rounded."""
    fields = type(section).model_fields
    values = {
        setting: round(value) if fields[setting].annotation is int and isinstance(value, float) else value
        for setting, value in values.items()
    }
    return type(section).model_validate(section.model_dump() | values)
