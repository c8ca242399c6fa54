"""From raw logs to histories: sources, the simulated store, the stage `prepare`, and reading its result."""

from longtail.data.prepare_stage import prepare
from longtail.data.prepared import Prepared, read_histories

__all__ = ["Prepared", "prepare", "read_histories"]
