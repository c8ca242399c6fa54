"""The section of a strategy: what all have, and how the recipe finds the class that a strategy declares for its settings."""

import difflib
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, SerializeAsAny, create_model

from longtail.recipe.section import Positive, Section, Share
from longtail.registry import strategies, strategy_spec


class StrategySection(Section):
    """What all strategies have. Each declares a class of its own, beside its code in `augment/strategies/`."""

    meaning: ClassVar[int] = 1
    """The version of what a strategy asks and reads with equal settings: raised in its section whenever that changes."""
    users: Positive | None = None
    """Ask about so many users, drawn by the recipe's seed; by default about all."""
    useless: Share = 0.9
    """The run stops if a larger share of the answers says nothing that can be used; the ledger is kept."""
    strategy: str
    """Its name in the registry."""


def _declared(given: Any) -> Any:
    """A section in the class that its strategy declares. The strategy's module is imported here, and no other one is."""
    if not isinstance(given, dict):
        return given
    name = given.get("strategy")
    if name not in [*strategies()]:
        near = difflib.get_close_matches(str(name), strategies(), n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ValueError(f"no strategy {name!r}: {hint}known: {', '.join(strategies())}")
    # A model around it, so that a fault within the section is told with the strategy's name.
    named = create_model("Strategy", __base__=Section, **{name: (strategy_spec(name).settings, ...)})
    return getattr(named.model_validate({name: given}), name)


Strategies = list[Annotated[SerializeAsAny[StrategySection], BeforeValidator(_declared)]]
