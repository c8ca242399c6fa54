"""Reads columns of times of any type at full resolution. An error names the file, row and value.

Dates become nanoseconds since 1970 in UTC; a date without a zone is taken as UTC. Numbers stay as they are, or become
nanoseconds if `dataset.time_unit` gives their unit. If a time has to be rounded, its text is kept in `written`.
"""

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from longtail.data.columns import NUMBER, refuse
from longtail.errors import InputError
from longtail.recipe import TimeUnit
from longtail.workspace.place import Place

TIMES = pa.schema(
    [
        ("timestamp", pa.int64()),  # a date in nanoseconds; a number itself, rounded down
        ("fraction", pa.int32()),  # the fraction of the number in billionths; null for a date
        ("written", pa.string()),  # the text of the time if it is finer than that, else null
    ]
)
"""A missing time is null in all three columns."""

BILLION = 1_000_000_000
_LARGEST = np.iinfo(np.int64).max
_NANOSECONDS = {"s": BILLION, "ms": 1_000_000, "us": 1_000, "ns": 1, "day": 86_400 * BILLION}
_PLAIN = r"^\+?(?P<sign>-?)(?P<whole>\d*)\.?(?P<beyond>\d*)$"
_DATE = (
    r"^(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])"
    r"(?:[Tt ](?P<hour>[01]\d|2[0-3])(?::(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d)(?:[.,](?P<beyond>\d+))?)?)?"
    r" ?(?:[Zz]|UTC|(?P<side>[+-])(?P<zone_hour>[01]\d|2[0-3]):?(?P<zone_minute>[0-5]\d)?)?)?$"
)
_EXPECTED = "a number or a date of ISO 8601"
_FIX = "Give numbers that order the interactions, such as Unix seconds, or dates such as 2024-05-31T12:00:00+02:00"


def as_times(
    column: pa.ChunkedArray, name: str, place: Place, first_row: int, unit: TimeUnit | None = None
) -> pa.Table:
    """Rows of TIMES from a plain column (`data.arrow_types`). unit: that of numbers; None: unknown, they only give an order.

    Raises InputError for a type without times, and for the first value that is not a time or too large for int64.
    """
    values = column.combine_chunks()
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    reading = _Reading(values, name, place, first_row)
    if pa.types.is_timestamp(values.type):
        return reading.dates(values.cast(pa.int64()), _NANOSECONDS[values.type.unit])
    if pa.types.is_date32(values.type):
        return reading.dates(values.cast(pa.int32()), _NANOSECONDS["day"])
    if pa.types.is_date64(values.type):
        return reading.dates(values.cast(pa.int64()), _NANOSECONDS["ms"])
    if pa.types.is_integer(values.type):
        return reading.whole(values, unit)
    if pa.types.is_floating(values.type):
        return reading.floats(values, unit)
    if pa.types.is_decimal(values.type):
        return reading.texts(values.cast(pa.string()), unit)
    if pa.types.is_string(values.type):
        return reading.texts(values, unit)
    raise InputError(f"{place}: column {name} has type {column.type}, which holds no times. {_FIX}.")


def numbered(times: np.ndarray) -> pa.Table:
    """Rows of TIMES from whole numbers int64 [n] that only give an order."""
    return _table(np.asarray(times, np.int64), np.zeros(len(times), np.int32))


def dated(times: np.ndarray) -> pa.Table:
    """Rows of TIMES from nanoseconds since 1970 int64 [n]."""
    return _table(np.asarray(times, np.int64), dated=True)


class _Reading:
    """One column. Messages quote its `values`."""

    def __init__(self, values: pa.Array, name: str, place: Place, first_row: int) -> None:
        self.values, self.name, self.place, self.first_row = values, name, place, first_row

    def dates(self, counts: pa.Array, nanoseconds: int) -> pa.Table:
        """counts: multiples of `nanoseconds`."""
        return _table(self._scaled(counts, nanoseconds), dated=True, missing=_nulls(counts))

    def whole(self, values: pa.Array, unit: TimeUnit | None) -> pa.Table:
        if pa.types.is_uint64(values.type):
            self._refuse_beyond(pc.fill_null(values, 0).to_numpy(False) > np.uint64(_LARGEST))
        values = values.cast(pa.int64())
        scaled = self._scaled(values, _NANOSECONDS[unit] if unit else 1)
        return _table(scaled, missing=_nulls(values))

    def floats(self, values: pa.Array, unit: TimeUnit | None) -> pa.Table:
        missing = _nulls(values)
        numbers = pc.fill_null(values, 0).to_numpy(False)
        self._refuse(~np.isfinite(numbers), "a finite number")
        self._refuse_beyond(np.abs(numbers) >= 2.0**63)
        if (np.floor(numbers) == numbers).all():
            return self.whole(pa.array(numbers.astype(np.int64), mask=missing), unit)
        return self.texts(_printed(values, numbers), unit)

    def texts(self, values: pa.Array, unit: TimeUnit | None) -> pa.Table:
        values = pc.utf8_trim_whitespace(values)
        values = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
        if pc.all(pc.match_substring_regex(values, r"^-?\d{1,18}$")).as_py():
            return self.whole(values.cast(pa.int64()), unit)
        for kind in (pa.timestamp("us"), pa.timestamp("us", "UTC")):
            try:
                values.drop_null()[:1].cast(kind)  # try one value first: a million failures take seconds
                return self.dates(values.cast(kind).cast(pa.int64()), _NANOSECONDS["us"])
            except pa.ArrowInvalid:
                continue  # zones, more digits, or no dates: read row by row below, which is slower
        missing = _nulls(values)
        number, date = (
            pc.fill_null(pc.match_substring_regex(values, pattern), False).to_numpy(False)
            for pattern in (NUMBER, _DATE)
        )
        self._refuse(~(missing | number | date), _EXPECTED)
        n = len(values)
        timestamps, fractions, finer = np.zeros(n, np.int64), np.zeros(n, np.int32), np.zeros(n, bool)
        for mask, read in ((number, self._numbers), (date, self._dates)):
            rows = np.flatnonzero(mask)
            if len(rows):
                timestamps[rows], fractions[rows], finer[rows] = read(values.take(pa.array(rows)), rows)
        if unit:
            billionths = fractions * np.int64(_NANOSECONDS[unit])
            more, rest = np.divmod(billionths, BILLION)
            scaled = self._scaled(pa.array(timestamps, mask=~number), _NANOSECONDS[unit])
            timestamps = np.where(number, scaled + more, timestamps)
            finer |= number & (rest > 0)
            fractions[:] = 0
        written = pc.if_else(pa.array(finer), values, pa.scalar(None, pa.string()))
        return _table(timestamps, fractions, date, missing, written)

    def _numbers(self, texts: pa.Array, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Timestamps, fractions, and which are finer, each [n], of numbers as text. rows: their positions in the column."""
        scientific = np.flatnonzero(pc.match_substring_regex(texts, "[eE]").to_numpy(False))
        if len(scientific):
            shifted = [self._shifted(texts[place].as_py(), rows[place]) for place in scientific.tolist()]
            mask = np.zeros(len(texts), bool)
            mask[scientific] = True
            texts = pc.replace_with_mask(texts, pa.array(mask), pa.array(shifted, pa.string()))
        parts = pc.extract_regex(texts, _PLAIN)
        whole = pc.utf8_ltrim(parts.field("whole"), "0")
        long = pc.greater(pc.utf8_length(whole), 18).to_numpy(False)
        for place in np.flatnonzero(long).tolist():
            long[place] = int(whole[place].as_py()) > _LARGEST
        self._refuse_beyond(_spread(long, rows, len(self.values)))
        timestamps = _integers(whole)
        fractions, finer = _billionths(parts.field("beyond"))
        below = pc.equal(parts.field("sign"), "-").to_numpy(False)
        borrowed = below & (fractions > 0)
        timestamps = np.where(below, -timestamps, timestamps) - borrowed
        return timestamps, np.where(borrowed, BILLION - fractions, fractions), finer

    def _shifted(self, text: str, row: int) -> str:
        """`1.5e9` without its exponent."""
        number = Decimal(text)
        beyond = number.adjusted() > 18 and number != 0
        self._refuse_beyond(_spread(np.array([beyond]), np.array([row]), len(self.values)))
        # Digits after the 400th do not change a float64. An exponent of millions must not take memory.
        return format(number, "f") if number.as_tuple().exponent > -400 else "0." + "0" * 399 + "1"

    def _dates(self, texts: pa.Array, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Like `_numbers`, in nanoseconds and without fractions."""
        parts = pc.extract_regex(texts, _DATE)
        year, month, day, hour, minute, second, zone_hour, zone_minute = (
            _integers(parts.field(name))
            for name in ("year", "month", "day", "hour", "minute", "second", "zone_hour", "zone_minute")
        )
        months = ((year - 1970) * 12 + month - 1).astype("datetime64[M]")
        days = months.astype("datetime64[D]") + (day - 1)
        n = len(self.values)
        self._refuse(_spread(days.astype("datetime64[M]") != months, rows, n), "a day of the calendar")
        side = np.where(pc.equal(parts.field("side"), "-").to_numpy(False), -1, 1)
        minutes = (days.astype(np.int64) * 24 + hour - side * zone_hour) * 60 + minute - side * zone_minute
        seconds = minutes * 60 + second
        self._refuse_beyond(_spread(np.abs(seconds) >= _LARGEST // BILLION, rows, n))
        billionths, finer = _billionths(parts.field("beyond"))
        return seconds * BILLION + billionths, np.zeros(len(texts), np.int32), finer

    def _scaled(self, counts: pa.Array, nanoseconds: int) -> np.ndarray:
        numbers = pc.fill_null(counts, 0).to_numpy(False).astype(np.int64)
        if nanoseconds > 1:
            most = _LARGEST // nanoseconds - 1
            self._refuse_beyond((numbers > most) | (numbers < -most))
        return numbers * nanoseconds

    def _refuse_beyond(self, wrong: np.ndarray) -> None:
        expected = "a time that fits in 64 bits: in nanoseconds from 1677-09-22 to 2262-04-11"
        self._refuse(
            wrong, expected, "Mend or remove the row, or set dataset.time_unit to the unit of the numbers"
        )

    def _refuse(self, wrong: np.ndarray, expected: str, fix: str = _FIX) -> None:
        """Raise InputError at the first row where `wrong` [n] is true."""
        if wrong.any():
            quoted = self.values.cast(pa.string()) if pa.types.is_temporal(self.values.type) else self.values
            refuse(pa.array(wrong), quoted, self.name, self.place, self.first_row, expected, fix)


def _printed(values: pa.Array, numbers: np.ndarray) -> pa.Array:
    """Floats as they are printed, because that is what the file means: 0.1, not 0.1000000000000000055."""
    texts = values.cast(pa.string())
    large = np.abs(numbers) >= 1e10  # Arrow prints these with an exponent, the others plainly down to 1e-5
    if not large.any():
        return texts
    sizes = np.abs(numbers[large]).astype(np.float64)
    whole = np.floor(sizes)
    billionths, found = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), bool)
    for digits in range(10):
        beyond = np.rint((sizes - whole) * 10**digits)
        fits = ~found & (whole + beyond / 10**digits == sizes)
        billionths[fits] = beyond[fits] * 10 ** (9 - digits)
        found |= fits
    signs = pa.array(np.where(numbers[large] < 0, "-", ""))
    digits_after = pc.utf8_lpad(pa.array(billionths).cast(pa.string()), 9, "0")
    plain = pc.binary_join_element_wise(signs, pa.array(whole.astype(np.int64)).cast(pa.string()), "")
    plain = pc.binary_join_element_wise(plain, digits_after, ".")
    return pc.replace_with_mask(texts, pa.array(large & ~_nulls(values)), plain)


def _table(
    timestamps: np.ndarray,
    fractions: np.ndarray | None = None,
    dated: np.ndarray | bool = False,
    missing: np.ndarray | None = None,
    written: Any = None,
) -> pa.Table:
    n = len(timestamps)
    missing = np.zeros(n, bool) if missing is None else missing
    fractions = np.zeros(n, np.int32) if fractions is None else fractions
    written = pa.nulls(n, pa.string()) if written is None else written
    columns = [pa.array(timestamps, mask=missing), pa.array(fractions, mask=missing | dated), written]
    return pa.table(columns, schema=TIMES)


def _nulls(values: pa.Array) -> np.ndarray:
    return pc.is_null(values).to_numpy(False)


def _integers(digits: pa.Array) -> np.ndarray:
    """int64 [n] from texts of digits; an empty text is 0."""
    return pc.if_else(pc.equal(digits, ""), "0", digits).cast(pa.int64()).to_numpy(False)


def _billionths(digits: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The digits after a point as billionths, int32 [n]; and which have further digits that are not 0, bool [n]."""
    nine = pc.utf8_slice_codeunits(pc.utf8_rpad(digits, 9, "0"), 0, 9)
    finer = pc.match_substring_regex(pc.utf8_slice_codeunits(digits, 9), "[1-9]").to_numpy(False)
    return _integers(nine).astype(np.int32), finer


def _spread(mask: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
    """bool [n]: `mask` at `rows`, false in all other rows."""
    spread = np.zeros(n, bool)
    spread[rows[mask]] = True
    return spread
