"""Arms of an A/B test: settings of `serving` that are live at the same time."""

from typing import Annotated, Any

from pydantic import Field

from longtail.recipe.section import Section

DEFAULT_ARM = "default"
"""The name of the only arm if no test is running."""
ArmName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,32}$")]


class Arm(Section):
    share: Annotated[float, Field(gt=0, le=1)]
    """Share of the users. Those of all arms add up to 1."""
    serving: dict[str, Any] = {}
    """What this arm changes in `serving`, for example `{alpha_1: 0.2}`."""
