"""The section of a strategy: what all have, and how the recipe finds the class that a strategy declares for its settings."""

import difflib
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, SerializeAsAny
from pydantic_core import SchemaValidator
from pydantic_core.core_schema import tagged_union_schema

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
    if isinstance(given, StrategySection):
        return given
    named = isinstance(given, dict) and "strategy" in given
    if named and given["strategy"] not in [*strategies()]:
        name = str(given["strategy"])
        near = difflib.get_close_matches(name, strategies(), n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise ValueError(f"no strategy '{name}': {hint}known: {', '.join(strategies())}")
    declared = {}
    if named:
        section = strategy_spec(given["strategy"]).settings
        declared = {given["strategy"]: section.__pydantic_core_schema__}
    # As pydantic checks one of several classes; it also says what is wrong with a section that names no strategy.
    return SchemaValidator(tagged_union_schema(declared, "strategy")).validate_python(given)


Strategies = list[Annotated[SerializeAsAny[StrategySection], BeforeValidator(_declared)]]
