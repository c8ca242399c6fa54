"""The search for the settings of a recommender: the number of trials and the values to try."""

import difflib
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from longtail.recipe.recommender_section import OF_TRAINING_SETS
from longtail.recipe.section import Positive, Section
from longtail.registry import recommender_spec, recommenders


class LogRange(Section):
    """Numbers between two ends, both above 0, drawn uniformly on a logarithmic scale."""

    log: tuple[float, float]

    @model_validator(mode="after")
    def _ordered(self) -> "LogRange":
        if not 0 < self.log[0] < self.log[1]:
            raise ValueError(f"log is [smallest, largest], both above 0, got {list(self.log)}")
        return self


Axis = Annotated[list[Any], Field(min_length=1)] | LogRange
"""The values that a setting may take."""
Space = dict[str, Axis]
"""From the name of a setting to the values it may take."""


class Found(Section):
    """What a search found for one recommender."""

    trials: Positive
    """The number of trials, that with the settings of before included."""
    settings: dict[str, Any]
    """The settings that were searched, with their best values."""


class Tune(Section):
    samples: Positive = 20
    """The largest number of trials of one recommender: the same budget for all. The first trial has the recipe's own
    settings."""
    space: Space = {}
    """From `recommender.setting` to its values. They replace the values in the recommender's `SPEC`, or add a setting to
    them. A list of one value fixes a setting."""
    found: dict[str, Found] = {}
    """By recommender, what `longtail tune` found. It writes this into the recipe with the best settings, so that the report
    can tell with how many trials the settings of each recommender were chosen."""

    @field_validator("space")
    @classmethod
    def _known(cls, space: Space) -> Space:
        for key in space:
            _check_known(key)
        return space

    @field_validator("found")
    @classmethod
    def _known_too(cls, found: dict[str, Found]) -> dict[str, Found]:
        for name, own in found.items():
            for setting in own.settings:
                _check_known(f"{name}.{setting}")
        return found


def _check_known(key: str) -> None:
    """Raise ValueError unless `key` is `recommender.setting`, of a setting that can be tuned."""
    name, _, setting = key.partition(".")
    if name not in recommenders() or setting not in _settings(name):
        raise ValueError(f"unknown key '{key}': {_known_keys(key)}")


def _settings(recommender: str) -> list[str]:
    """The names of all settings of a recommender that can be tuned."""
    return [one for one in recommender_spec(recommender).settings.model_fields if one not in OF_TRAINING_SETS]


def _known_keys(key: str) -> str:
    """For a message: the known key nearest to a wrong `recommender.setting`, and the keys that are known there."""
    name, known = key.partition(".")[0], {one: _settings(one) for one in recommenders()}
    near = difflib.get_close_matches(
        key, [f"{one}.{own}" for one in known for own in known[one]], n=1, cutoff=0.8
    )
    hint = f"did you mean '{near[0]}'? " if near else ""
    keys = [f"{name}.{own}" for own in known[name]] if name in known else [f"{one}.SETTING" for one in known]
    return f"{hint}known here: {', '.join(keys)}"
