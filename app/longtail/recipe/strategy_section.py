"""The section of a strategy: the fields that all have, and how the recipe finds the class with a strategy's own fields."""

import difflib
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, SerializeAsAny, create_model

from longtail.recipe.section import Positive, Section, Share
from longtail.registry import strategies, strategy_spec


class StrategySection(Section):
    """The fields of all strategies. Each strategy adds its own in a subclass, beside its code in `augment/strategies/`."""

    meaning: ClassVar[int] = 1
    """The version of a strategy's prompts and of how it reads answers. A strategy raises it in its own section when either
    changes although the settings do not."""
    users: Positive | None = None
    """How many users the LLM is asked about, drawn with the recipe's seed; by default all."""
    useless: Share = 0.9
    """The run stops if the share of useless answers is larger than this. The ledger is kept."""
    strategy: str
    """The name of the strategy in the registry."""


def _declared(given: Any) -> Any:
    """A section in the class that its strategy declares. Only the module of this strategy is imported."""
    if not isinstance(given, dict):
        return given
    name = given.get("strategy")
    if name not in [*strategies()]:
        near = difflib.get_close_matches(str(name), strategies(), n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ValueError(f"no strategy {name!r}: {hint}known: {', '.join(strategies())}")
    # Wrapped in a model with the strategy's name as a field, so that the message of a wrong value has this name.
    named = create_model("Strategy", __base__=Section, **{name: (strategy_spec(name).settings, ...)})
    return getattr(named.model_validate({name: given}), name)


Strategies = list[Annotated[SerializeAsAny[StrategySection], BeforeValidator(_declared)]]
