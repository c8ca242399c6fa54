"""The search for a recommender's settings: how many trials, over which values."""

import difflib
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from longtail.recipe.recommenders import Recommenders
from longtail.recipe.section import Positive, Section


class LogRange(Section):
    """Numbers between two ends, both above 0, drawn evenly by their logarithm."""

    log: tuple[float, float]

    @model_validator(mode="after")
    def _ordered(self) -> "LogRange":
        if not 0 < self.log[0] < self.log[1]:
            raise ValueError(f"log is [smallest, largest], both above 0, got {list(self.log)}")
        return self


Axis = Annotated[list[Any], Field(min_length=1)] | LogRange
"""The values that a setting may take."""


class Tune(Section):
    samples: Positive = 20
    """At most so many trials of a recommender; the first has the recipe's own settings."""
    space: dict[str, Axis] = {}
    """`recommender.setting` to its values, in place of the defaults in recommenders/spaces.py or beside them; a list of
    one value fixes a setting."""

    @field_validator("space")
    @classmethod
    def _known(cls, space: dict[str, Axis]) -> dict[str, Axis]:
        known = settings_by_recommender()
        for key in space:
            name, _, setting = key.partition(".")
            if setting in known.get(name, ()):
                continue
            if name in known:
                keys = [f"{name}.{one}" for one in known[name]]
            else:
                keys = [f"{one}.SETTING" for one in known]
            near = difflib.get_close_matches(
                key, [f"{a}.{b}" for a in known for b in known[a]], n=1, cutoff=0.8
            )
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise ValueError(f"unknown key '{key}': {hint}known here: {', '.join(keys)}")
        return space


NOT_TUNED = ("variants", "judge")
"""What a recommender is trained on, no setting of its own."""


def settings_by_recommender() -> dict[str, list[str]]:
    """The names of all settings that can be tuned, by recommender."""
    return {
        name: [setting for setting in field.annotation.__args__[0].model_fields if setting not in NOT_TUNED]
        for name, field in Recommenders.model_fields.items()
    }
