"""What the LLMs cost."""

from typing import Annotated

from pydantic import Field

from longtail.recipe.section import Section


class Price(Section):
    """What an LLM costs. Prices of tokens and of time add up; give the ones that apply."""

    prompt: Annotated[float, Field(ge=0)] = 0.0
    """Of a million prompt tokens."""
    output: Annotated[float, Field(ge=0)] = 0.0
    """Of a million written tokens."""
    hour: Annotated[float, Field(ge=0)] = 0.0
    """Of an hour of one engine."""

    def spent(self, prompt_tokens: int, output_tokens: int, seconds: float) -> float:
        """What that many tokens and engine seconds cost, in the price table's currency."""
        return (self.prompt * prompt_tokens + self.output * output_tokens) / 1e6 + self.hour * seconds / 3600


class Prices(Section):
    currency: str = "USD"
    models: dict[str, Price] = {}
    """By `llm.base`; where there are any, the recipe's own must be among them."""
