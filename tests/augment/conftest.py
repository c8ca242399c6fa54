"""The catalogue that the tests of the LLM room use, too."""

from tests.llm.conftest import catalogue

__all__ = ["catalogue"]
