"""Times of every type and spelling come out in their order, at full resolution, or are refused by row and value."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.fs import LocalFileSystem

from longtail.data.arrow_types import plain
from longtail.data.times import TIMES, as_times, numbered
from longtail.errors import InputError
from longtail.workspace.place import Place

LOG = Place(LocalFileSystem(), "/shop/log.csv")
BILLION = 10**9
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read(values: list[Any] | pa.Array, unit: str | None = None) -> list[tuple]:
    values = values if isinstance(values, pa.Array) else pa.array(values)
    table = as_times(plain(pa.chunked_array([values]), "time", LOG, 0), "time", LOG, 0, unit)
    assert table.schema == TIMES
    return [tuple(row.values()) for row in table.to_pylist()]


def nanoseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2020-02-29", datetime(2020, 2, 29, tzinfo=UTC)),
        ("2020-01-01T10:30", datetime(2020, 1, 1, 10, 30, tzinfo=UTC)),
        ("2020-01-01 10:30:05", datetime(2020, 1, 1, 10, 30, 5, tzinfo=UTC)),
        ("2020-01-01T10:30:05.25Z", datetime(2020, 1, 1, 10, 30, 5, 250_000, tzinfo=UTC)),
        ("2020-01-01T10:30:05,000001Z", datetime(2020, 1, 1, 10, 30, 5, 1, tzinfo=UTC)),
        ("2020-01-01T10:30:05+02:00", datetime(2020, 1, 1, 8, 30, 5, tzinfo=UTC)),
        ("2020-01-01 10:30:05-0530", datetime(2020, 1, 1, 16, 0, 5, tzinfo=UTC)),
        ("2020-01-01 10:30:05+00", datetime(2020, 1, 1, 10, 30, 5, tzinfo=UTC)),
        ("2020-01-01 10:30:05.5 UTC", datetime(2020, 1, 1, 10, 30, 5, 500_000, tzinfo=UTC)),
        (" 1969-12-31T23:59:59.9z ", datetime(1969, 12, 31, 23, 59, 59, 900_000, tzinfo=UTC)),
    ],
)
def test_iso_8601_is_read_with_its_zone(text: str, moment: datetime) -> None:
    assert read([text]) == [(nanoseconds(moment), None, None)]
    assert read([text], "ms") == read([text]), "a unit is said of numbers, not of dates"


@given(
    st.datetimes(datetime(1678, 1, 1), datetime(2262, 1, 1)),
    st.none() | st.integers(-14 * 60, 14 * 60),
    st.sampled_from("T "),
)
def test_what_python_writes_is_read(moment: datetime, offset: int | None, between: str) -> None:
    if offset is not None:
        moment = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    assert read([moment.isoformat(between)]) == [(nanoseconds(aware), None, None)]


@given(st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), min_size=1))
def test_a_time_is_the_same_in_every_type(moments: list[datetime]) -> None:
    expected = [(nanoseconds(moment.replace(tzinfo=UTC)), None, None) for moment in moments]
    micro = pa.array(moments, pa.timestamp("us"))
    texts = pa.array([moment.isoformat() for moment in moments])
    types = [
        micro.cast(pa.timestamp("ns")),
        micro.cast(pa.timestamp("us", "UTC")),
        micro.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", "Asia/Kolkata")),
        micro.dictionary_encode(),
        texts.cast(pa.large_string()),
        texts.cast(pa.string_view()),
        texts.dictionary_encode(),
        pa.RunEndEncodedArray.from_arrays(np.arange(1, len(moments) + 1, dtype=np.int32), micro),
    ]
    for values in [micro, texts, *types]:
        assert read(values) == expected, values.type
    days = pa.array([moment.date() for moment in moments])
    midnights = [
        (nanoseconds(datetime(*day.timetuple()[:3], tzinfo=UTC)), None, None) for day in days.to_pylist()
    ]
    for values in (days, days.cast(pa.date64()), days.cast(pa.timestamp("s")), days.cast(pa.string())):
        assert read(values) == midnights, values.type


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_whole_numbers_only_order(numbers: list[int]) -> None:
    expected = [(number, 0, None) for number in numbers]
    assert read(pa.array(numbers, pa.int64())) == expected
    small = [number for number in numbers if abs(number) < 2**53]
    assert read(pa.array(map(float, small), pa.float64())) == [(number, 0, None) for number in small]
    assert read([str(number) for number in numbers if number > -(2**63)] or pa.array([], pa.string())) == [
        row for row in expected if row[0] > -(2**63)
    ]


@given(
    st.lists(
        st.floats(-1e9, 1e9) | st.floats(0, 1, width=32) | st.decimals(-(10**9), 10**9, places=12), min_size=1
    ),
    st.sampled_from([None, "s", "ms", "us", "ns"]),
)
def test_fractions_are_exact_or_said_to_be_finer(numbers: list[float | Decimal], unit: str | None) -> None:
    texts = [str(number) for number in numbers]
    for number, (timestamp, fraction, written) in zip(map(Decimal, texts), read(texts, unit), strict=True):
        exact = number * {None: BILLION, "s": BILLION, "ms": 10**6, "us": 10**3, "ns": 1}[unit]
        found = timestamp if unit else timestamp * BILLION + fraction
        assert 0 <= fraction < BILLION and (fraction == 0 or unit is None)
        assert abs(found - exact) < 1 and (found == exact) == (written is None)


def test_a_float_is_what_it_prints() -> None:
    floats = [0.1, 1577836800.123, 1e-7, 1577836800123.25, -0.25]
    expected = [
        (0, 100_000_000, None),
        (1577836800, 123_000_000, None),
        (0, 100, None),
        (1577836800123, 250_000_000, None),
        (-1, 750_000_000, None),
    ]
    assert read(floats) == read([str(number) for number in floats]) == expected
    assert read(pa.array([0.1, 2.0], pa.float32())) == [(0, 100_000_000, None), (2, 0, None)]
    assert read([Decimal("1.50"), Decimal("2.00")]) == [(1, 500_000_000, None), (2, 0, None)]
    assert read([1577836800123.25], "ms") == [(1577836800123250000, 0, None)]
    assert read(["1e3", "1.5E+1", ".5", "+7.", "1e-999999999"])[:4] == [
        (1000, 0, None),
        (15, 0, None),
        (0, 500_000_000, None),
        (7, 0, None),
    ]


def test_what_is_missing_is_null_in_all_columns() -> None:
    nothing = (None, None, None)
    assert read(["", None, " ", "1"]) == [nothing, nothing, nothing, (1, 0, None)]
    assert read(pa.array([None, 1.5])) == [nothing, (1, 500_000_000, None)]
    assert read(pa.array([None, date(1970, 1, 2)])) == [nothing, (86_400 * BILLION, None, None)]
    assert read(pa.nulls(1)) == [nothing]
    assert numbered(np.array([4])).to_pylist() == [{"timestamp": 4, "fraction": 0, "written": None}]


@pytest.mark.parametrize(
    ("values", "unit", "message"),
    [
        (
            ["1", "yesterday"],
            None,
            r"log.csv, row 2: time = 'yesterday' is not a number or a date of ISO 8601",
        ),
        (["1", "NaT"], None, r"row 2: time = 'NaT' is not a number or a date"),
        (["nan"], None, r"time = 'nan' is not a number or a date"),
        (["2020-02-30"], None, r"row 1: time = '2020-02-30' is not a day of the calendar"),
        (["2020-13-01"], None, r"'2020-13-01' is not a number or a date"),
        (["2020-01-01T25:00"], None, r"is not a number or a date"),
        (["01/02/2020"], None, r"'01/02/2020' is not a number or a date"),
        (
            ["2020-01-01", "0001-01-01"],
            None,
            r"row 2: time = '0001-01-01' is not a time that fits in 64 bits.*1677",
        ),
        (["9999-12-31T00:00:00Z"], None, r"'9999-12-31T00:00:00Z' is not a time that fits in 64 bits"),
        ([1.0, float("nan")], None, r"row 2: time = 'nan' is not a finite number"),
        ([1.5, float("inf")], None, r"row 2: time = 'inf' is not a finite number"),
        ([1e300], None, r"time = '1e\+300' is not a time that fits in 64 bits"),
        (["1e300"], None, r"time = '1e300' is not a time that fits in 64 bits"),
        (["9223372036854775808"], None, r"is not a time that fits in 64 bits"),
        (
            pa.array([2**63], pa.uint64()),
            None,
            r"time = '9223372036854775808' is not a time that fits in 64 bits",
        ),
        (
            [1577836800123],
            "s",
            r"time = '1577836800123' is not a time that fits in 64 bits.*dataset.time_unit",
        ),
        ([10**16], "us", r"is not a time that fits in 64 bits"),
        (pa.array([10**17], pa.timestamp("s")), None, r"row 1: time = .* is not a time that fits in 64 bits"),
        (pa.array([10**8], pa.date32()), None, r"row 1: time = .* is not a time that fits in 64 bits"),
        (
            pa.array([1], pa.duration("us")),
            None,
            r"log.csv: column time has type duration\[us\], which holds no",
        ),
        (pa.array([1], pa.time64("us")), None, r"log.csv: column time has type time64\[us\]"),
        ([True], None, r"column time has type bool"),
        ([[1]], None, r"column time has type list"),
        ([b"\xff"], None, r"log.csv, row 1: time has type binary, and a value that is not UTF-8"),
        (pa.array([{"a": 1}]), None, r"column time has type struct"),
    ],
)
def test_what_is_no_time_is_one_message(values: list[Any] | pa.Array, unit: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(values, unit)
