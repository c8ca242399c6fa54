"""The price table: what an hour of the run costs, and what the LLMs cost beside it."""

from typing import Annotated

from pydantic import Field

from longtail.recipe.section import Section


class Price(Section):
    """What one LLM costs. The prices of tokens and of time are added; give those that apply."""

    prompt: Annotated[float, Field(ge=0)] = 0.0
    """Price of a million prompt tokens."""
    output: Annotated[float, Field(ge=0)] = 0.0
    """Price of a million generated tokens."""
    hour: Annotated[float, Field(ge=0)] = 0.0
    """Price of one hour of one vLLM engine."""

    def spent(self, prompt_tokens: int, output_tokens: int, seconds: float) -> float:
        """The cost of this many tokens and engine seconds, in the currency of the price table."""
        return (self.prompt * prompt_tokens + self.output * output_tokens) / 1e6 + self.hour * seconds / 3600


class Prices(Section):
    currency: str = "USD"
    hour: Annotated[float, Field(ge=0)] = 0.4
    """Price of an hour of the machines that the run uses, for the time of all stages. The default is about what a cloud
    asks for 8 virtual CPUs with 32 GB, on demand; give the price of your own machine or GPU."""
    models: dict[str, Price] = {}
    """The price of each `llm.base`, beside that of the hour: tokens of a hosted model, or engines on machines of their
    own. If any is given, that of the recipe's own `llm.base` must be given too."""
