"""The same small stores as for the figures."""

from tests.evaluation.conftest import write_data, write_ranks

__all__ = ["write_data", "write_ranks"]
