"""Which served recommendations an event came from, counted by user.

A recommendation counts as successful if an event quotes its id and names one of its items. Memory grows with users and
with events that quote a recommendation, not with recommendations.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from longtail.errors import InputError
from longtail.event_log.arms_record import ArmsRecord, latest_arms
from longtail.event_log.log_files import hour_of, log_files, read_log_file
from longtail.event_log.records import INTERACTION, INTERACTIONS, RECOMMENDATION, RECOMMENDATIONS
from longtail.workspace.place import Place


@dataclass(frozen=True)
class Outcomes:
    """The users of the test. users: columns arm, user_id, recommendations, successful; one row per user.

    moved: users who were served by more than one arm. They are left out, since nothing tells which arm moved them. without:
    recommendations for somebody without a user id, which are left out too.
    """

    arms: ArmsRecord
    users: pl.DataFrame
    moved: int
    without: int


def find_log(uri: str) -> Place:
    """The log that is named itself, or that of a workspace. Raises InputError if there is none."""
    place = Place.named(uri, "EVENTS")
    for log in (place, place / "events"):
        if (log / RECOMMENDATIONS).exists():
            return log
    raise InputError(
        f"{uri}: there is no event log. Give the folder that `serving.events.log` names, or a workspace that was served."
    )


def outcomes(log: Place, kinds: list[str] | None = None) -> Outcomes:
    """Read the latest test in the log. kinds: those of the events that count; None: all.

    Raises InputError if no arms were served.
    """
    arms = latest_arms(log)
    if arms is None:
        raise InputError(f"{log}: no arms were served. Set serving.arms in the recipe, and serve it.")
    since = hour_of(arms.since)
    events = _quoting(log, since, kinds)
    parts = [_served(table, arms, events) for table in _tables(log / RECOMMENDATIONS, since, RECOMMENDATION)]
    served = pl.concat(parts) if parts else pl.DataFrame(schema=_SERVED)
    served = served.group_by("user_id", "arm").sum()
    known = served.filter(pl.col("user_id").is_not_null())
    moved = known.group_by("user_id").len().filter(pl.col("len") > 1)
    return Outcomes(
        arms,
        known.join(moved, on="user_id", how="anti").sort("arm", "user_id"),
        moved.height,
        int(served.filter(pl.col("user_id").is_null())["recommendations"].sum()),
    )


_SERVED = {"user_id": pl.String, "arm": pl.String, "recommendations": pl.Int64, "successful": pl.Int64}


def _quoting(log: Place, since: str, kinds: list[str] | None) -> pl.DataFrame:
    """The distinct pairs of recommendation_id and item_id in the events since an hour."""
    parts = [pl.DataFrame(schema={"recommendation_id": pl.String, "item_id": pl.String})]
    for table in _tables(log / INTERACTIONS, since, INTERACTION):
        events = pl.from_arrow(table).filter(pl.col("recommendation_id").is_not_null())
        if kinds is not None:
            events = events.filter(pl.col("kind").is_in(kinds))
        parts.append(events.select("recommendation_id", "item_id").unique())
    return pl.concat(parts).unique()


def _served(table: pa.Table, arms: ArmsRecord, events: pl.DataFrame) -> pl.DataFrame:
    """One row per user and arm of a file: how many recommendations, and how many of them were successful."""
    served = pl.from_arrow(table).filter(pl.col("time") >= arms.since, pl.col("arm").is_in(list(arms.shares)))
    quoted = served.select("recommendation_id", "items").join(events, on="recommendation_id")
    successful = quoted.filter(pl.col("item_id").is_in(pl.col("items")))["recommendation_id"].unique()
    return (
        served.select("user_id", "arm", success=pl.col("recommendation_id").is_in(successful.implode()))
        .group_by("user_id", "arm")
        .agg(
            recommendations=pl.len().cast(pl.Int64),
            successful=pl.col("success").sum().cast(pl.Int64),
        )
    )


def _tables(folder: Place, since: str, schema: pa.Schema) -> Iterator[pa.Table]:
    return (read_log_file(file.place, schema) for file in log_files(folder, since))
