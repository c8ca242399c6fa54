"""Facts about all times of a log: numbers or dates, the first and the last, and whether two would become equal."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.data.times import BILLION
from longtail.errors import InputError

_ROW_AND_TIME = pa.list_(pa.int64())
_SEEN = pa.struct(
    [
        *((name, _ROW_AND_TIME) for name in ("first", "last", "dated", "numbered", "fractional")),
        ("finer", pa.bool_()),
    ]
)


@dataclass(frozen=True)
class TimesSeen:
    """Facts about the times of one block or of several, added up. None: there is no such time."""

    first: list[int] | None = None
    """The earliest time: number, fraction in billionths, row."""
    last: list[int] | None = None
    dated: list[int] | None = None
    """The first row with a date, and the date in nanoseconds."""
    numbered: list[int] | None = None
    """The first row with a number, and the number rounded down; `fractional`: the first with a fraction."""
    fractional: list[int] | None = None
    finer: bool = False
    """Some times are finer than the number that is kept."""

    def __add__(self, other: Self) -> Self:
        def least(name: str) -> list[int] | None:
            return min(filter(None, (getattr(self, name), getattr(other, name))), default=None)

        return TimesSeen(
            first=least("first"),
            last=max(filter(None, (self.last, other.last)), default=None),
            dated=least("dated"),
            numbered=least("numbered"),
            fractional=least("fractional"),
            finer=self.finer or other.finer,
        )

    @property
    def scale(self) -> int:
        """The factor of every timestamp before its billionths are added. Numbers with fractions are taken as seconds."""
        return BILLION if self.fractional else 1

    @property
    def first_time(self) -> int:
        return self._scaled(self.first)

    @property
    def last_time(self) -> int:
        return self._scaled(self.last)

    def _scaled(self, time: list[int]) -> int:
        return time[0] * self.scale + (time[1] if self.fractional else 0)

    def check(self, where: Callable[[int], str]) -> None:
        """Raise InputError for both dates and numbers, and for numbers with fractions that are too large for nanoseconds.

        where: gives the file and row for a value of `row`.
        """
        if self.dated and self.numbered:
            date = np.datetime64(self.dated[1], "ns")
            raise InputError(
                f"{where(self.numbered[0])}: the time {self.numbered[1]} is a number, but {where(self.dated[0])} has "
                f"the date {date}. Write all times in one way."
            )
        for time in filter(None, (self.first, self.last)):
            if self.fractional and not -(2**63) <= self._scaled(time) < 2**63:
                raise InputError(
                    f"{where(time[2])}: the time {time[0]} is too large for seconds, and {where(self.fractional[0])} "
                    f"has a time with a fraction, {self.fractional[1]}.… Set dataset.time_unit to what times count, "
                    "s, ms, us or ns."
                )


def seen(block: pa.Table) -> pa.StructArray:
    """TimesSeen of accepted rows of READ, as one row."""
    if not block.num_rows:
        return pa.array([vars(TimesSeen())], _SEEN)
    times, rows = block["timestamp"].to_numpy(), block["row"].to_numpy()
    dated = pc.is_null(block["fraction"]).to_numpy()
    fractions = pc.fill_null(block["fraction"], 0).to_numpy()

    def at(place: int) -> list[int]:
        return [int(times[place]), int(fractions[place]), int(rows[place])]

    def first_row(mask: np.ndarray) -> list[int] | None:
        if not mask.any():
            return None
        place = np.flatnonzero(mask)[rows[mask].argmin()]
        return [int(rows[place]), int(times[place])]

    earliest, latest = (np.flatnonzero(times == extreme) for extreme in (times.min(), times.max()))
    found = TimesSeen(
        first=at(earliest[fractions[earliest].argmin()]),
        last=at(latest[fractions[latest].argmax()]),
        dated=first_row(dated),
        numbered=first_row(~dated),
        fractional=first_row(fractions > 0),
        finer=bool(block["written"].null_count < block.num_rows),
    )
    return pa.array([vars(found)], _SEEN)


def clashes(interactions: pa.Table) -> pa.Table:
    """The first two times of a user that differ but would be kept as equal: one row about two of histories.ENCODED, or none.

    The block must have all rows of its users. Columns: user_id, row, written, other_row and other_written.
    """
    users, written = (interactions[name].combine_chunks() for name in ("user_id", "written"))
    users = users.dictionary_encode().indices.to_numpy()
    texts = pc.fill_null(written.dictionary_encode().indices, -1).to_numpy(False)
    times, rows = interactions["timestamp"].to_numpy(), interactions["row"].to_numpy()
    order = np.lexsort((rows, texts, times, users))
    same = (np.diff(users[order]) == 0) & (np.diff(times[order]) == 0) & (np.diff(texts[order]) != 0)
    pairs = np.flatnonzero(same)[:1]
    one, other = (interactions.take(pa.array(order[places])) for places in (pairs, pairs + 1))
    return pa.table(
        {
            "user_id": one["user_id"],
            "row": one["row"],
            "written": one["written"],
            "other_row": other["row"],
            "other_written": other["written"],
        }
    )


def clash_message(clash: dict[str, object], where: Callable[[int], str]) -> str:
    """The message about a row of `clashes`."""
    one, other = (
        f"{where(clash[row])}" + (f" ({clash[text]})" if clash[text] else "")
        for row, text in (("row", "written"), ("other_row", "other_written"))
    )
    return (
        f"{one} and {other}: two times of user {clash['user_id']!r} differ by less than a nanosecond, so their order would "
        "be lost. Multiply all times until they differ by more, or set dataset.time_unit to what they count."
    )
