"""Raw logs in, histories out: sources, the simulated store, prepare, and the read side for later stages."""

from longtail.data.prepare_stage import prepare
from longtail.data.prepared import Prepared, read_histories

__all__ = ["Prepared", "prepare", "read_histories"]
