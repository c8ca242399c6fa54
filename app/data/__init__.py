"""Raw logs in, histories out: sources, the simulated store, prepare, and the read side for later stages."""

from app.data.prepare import prepare
from app.data.prepared import Prepared, read_histories

__all__ = ["Prepared", "prepare", "read_histories"]
