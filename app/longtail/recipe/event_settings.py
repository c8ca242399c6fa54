"""The event log: where the endpoint writes it, and how `prepare` reads it."""

from datetime import date
from typing import Annotated

from pydantic import Field

from longtail.recipe.section import Positive, Section

Kind = Annotated[str, Field(pattern=r"^[a-z0-9_.-]{1,32}$")]


class ServedEvents(Section):
    """What the endpoint keeps of what clients tell it."""

    log: str | None = None
    """Folder or URI of the event log, which all replicas share; null: `events` in the workspace."""
    kinds: list[Kind] | None = None
    """The kinds of events that count as interactions, so the next answer knows them; null: all. All are kept in the log."""
    remembered: Positive = 1_000_000
    """How many of the latest events a replica keeps in memory, about 400 bytes each. Users of older ones get answers as if
    they had not sent them, until `prepare` has read the log."""


class ReadEvents(Section):
    """Which events of a log belong to the data set."""

    log: str | None = None
    """Folder or URI of an event log that is read in addition to the source; null: none. Not with source `events`, whose log
    is `path`."""
    kinds: list[Kind] | None = None
    """The kinds of events that count as interactions; null: all."""
    until: date | None = None
    """Only events of the days before this one, in UTC, are read; null: all. With a day that is over, the data stay the same
    while the log grows, so nothing is made again."""
