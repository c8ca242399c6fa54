"""`prepare` as a whole beside a twin in plain Python, over random small logs: it publishes the same, or both refuse.

The twin shares nothing with the code but the recipe: no Arrow, no NumPy, and every time is an exact fraction.
"""

import csv
import os
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from longtail.data import Prepared, prepare, read_histories
from longtail.errors import InputError
from longtail.recipe import Dataset, Recipe
from longtail.workspace import Workspace

pytestmark = pytest.mark.usefixtures("ray_here")

EXAMPLES = int(os.environ.get("LONGTAIL_TWIN_EXAMPLES", "40"))
SEED = 5
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


# ---- the logs ----------------------------------------------------------------------------------


@dataclass
class Shop:
    """What a publisher has: rows of (user, item, time, stars), the same of the test file, and listed ids."""

    log: list[tuple[Any, Any, Any, Any]]
    test: list[tuple[Any, Any, Any, Any]]
    listed: list[str] | None
    kind: str
    types: dict[str, pa.DataType | None]
    dataset: dict[str, Any]
    cuts: list[int] = field(default_factory=list)
    """After how many rows a new file begins."""


def _numbers(low: int, high: int) -> st.SearchStrategy[int]:
    return st.integers(low, high) | st.integers(low, low + 3)


TIMES: dict[str, tuple[st.SearchStrategy[Any], list[pa.DataType | None]]] = {
    "whole": (_numbers(-5, 40), [pa.int64(), pa.int32(), pa.float64(), pa.string(), pa.string_view()]),
    "unix": (_numbers(1_577_836_800, 1_577_836_840), [pa.int64(), pa.uint64(), pa.float64(), pa.string()]),
    "huge": (st.sampled_from([-(2**63) + 1, -1, 0, 7, 2**63 - 2, 2**63 - 1]), [pa.int64()]),
    "tenths": (st.integers(-30, 30).map(lambda n: n / 10), [pa.float64(), pa.string()]),
    "halves": (st.integers(0, 9).map(lambda n: n / 2), [pa.float32(), pa.float16(), pa.string()]),
    "unit": (
        st.floats(0, 1) | st.sampled_from([0.1234567891, 0.12345678915, 1e-12]),
        [pa.float64(), pa.string()],
    ),
    "milliseconds": (
        st.integers(0, 9).map(lambda n: 1_577_836_800_000 + n / 4),
        [pa.float64(), pa.string()],
    ),
    "decimals": (
        st.decimals(0, 3, places=2) | st.decimals(0, 1, places=11),
        [pa.decimal128(20, 11), pa.string()],
    ),
    "datetimes": (
        st.datetimes(datetime(2020, 1, 1), datetime(2020, 1, 1, 0, 0, 2)).map(
            lambda one: one.replace(tzinfo=UTC)
        ),
        [pa.timestamp("us", "UTC"), pa.timestamp("ns", "Europe/Berlin"), pa.timestamp("us"), None],
    ),
    "seconds": (
        st.integers(0, 20).map(lambda n: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=n)),
        [pa.timestamp("s", "UTC"), pa.timestamp("ms"), None],
    ),
    "days": (
        st.dates(date(2019, 12, 25), date(2020, 1, 9)),
        [pa.date32(), pa.date64(), pa.timestamp("s"), pa.string()],
    ),
    "iso": (
        st.builds(
            lambda n, zone, mark: (
                (datetime(2020, 1, 1) + timedelta(milliseconds=250 * n)).isoformat(mark)
                + ("" if zone is None else "Z" if not zone else f"{zone:+03d}:30")
            ),
            st.integers(0, 30),
            st.none() | st.sampled_from([-3, 0, 5]),
            st.sampled_from("T "),
        ),
        [pa.string(), pa.large_string(), pa.string_view()],
    ),
    "bad": (
        st.integers(0, 9) | st.sampled_from(["soon", "NaT", "2020-02-30", "0001-01-01", ""]),
        [pa.string()],
    ),
    "mixed": (st.integers(0, 9) | st.sampled_from(["2020-01-01", "2020-01-02"]), [pa.string()]),
}
IDS = {
    "letters": (st.sampled_from(["a", "b", "c", "é", "00", " a "]), [pa.string(), pa.string_view()]),
    "numbers": (st.integers(0, 5), [pa.int64(), pa.int16(), pa.string()]),
    "words": (
        st.sampled_from(["a", "b", "NULL", "\\N", "nan", "Null", "NA"]),
        [pa.string(), pa.large_string()],
    ),
    "nulls": (st.sampled_from(["a", "b", None, ""]), [pa.string()]),
}


@st.composite
def shops(draw: st.DrawFn) -> Shop:
    def kind_of(table: dict[str, Any], usual: list[str]) -> tuple[Any, pa.DataType | None]:
        name = draw(st.sampled_from([*usual * 8, *sorted(table)]))
        event(name)
        values, types = table[name]
        return values, draw(st.sampled_from(types))

    users, user_type = kind_of(IDS, ["letters", "numbers"])
    items, item_type = kind_of(IDS, ["letters", "numbers"])
    times, time_type = kind_of(TIMES, ["whole", "tenths", "datetimes", "iso"])
    rows = st.lists(st.tuples(users, items, times, st.integers(1, 5)), min_size=8, max_size=30)
    split = draw(st.sampled_from(["leave-one-out", "leave-one-out", "temporal", "published"]))
    event(split)
    log = draw(rows)
    dataset: dict[str, Any] = {
        "split": split,
        "k_core": draw(st.sampled_from([0, 0, 0, 1, 2, 3])),
        "repeats": draw(st.sampled_from(["first", "last", "all"])) if split != "published" else "first",
        "min_rating": draw(st.sampled_from([None, None, 2])),
        "time_unit": draw(st.sampled_from([None, None, None, *UNITS])) if split != "published" else None,
        "valid_share": draw(st.sampled_from([0.0, 0.1, 0.3])),
        "test_share": draw(st.sampled_from([0.1, 0.3, 0.6])),
    }
    if draw(st.booleans()):
        dataset["null_words"] = draw(st.sampled_from([[], ["a"], ["nan", "NA"]]))
    ids = st.sampled_from(["a", "c", "é", "z", "0", "1", "2", "9", "NULL"])
    floats = st.integers(0, 6).map(lambda n: f"{n}.0")
    return Shop(
        log=log,
        test=draw(rows) if split == "published" else [],
        listed=draw(st.none() | st.lists(ids, max_size=6) | st.lists(floats, min_size=1, max_size=6)),
        kind=draw(st.sampled_from(["csv", "parquet"])),
        types={"user": user_type, "item": item_type, "time": time_type},
        dataset=dataset,
        cuts=sorted(draw(st.lists(st.integers(0, len(log)), max_size=2))),
    )


def as_text(value: Any) -> str | None:
    """A value in a CSV, or in a column of text."""
    return None if value is None else value.isoformat() if isinstance(value, date) else str(value)


def write(shop: Shop, at: Path) -> None:
    if shop.kind == "csv":
        one_file = shop.dataset["split"] == "published" or not shop.cuts
        for number, rows in enumerate([shop.log] if one_file else parts(shop)):
            name = "train.csv" if shop.test else "interactions.csv" if one_file else f"log/part-{number}.csv"
            write_csv(at / name, rows)
        if shop.test:
            write_csv(at / "test.csv", shop.test)
    else:
        name = "train.parquet" if shop.test else "interactions.parquet"
        pq.write_table(columns_of(shop, shop.log), at / name, row_group_size=max(1, len(shop.log) // 3))
        if shop.test:
            pq.write_table(columns_of(shop, shop.test), at / "test.parquet")
    if shop.listed is not None:
        listed = pa.table({"item_id": pa.array(shop.listed, pa.string()), "title": ["x"] * len(shop.listed)})
        if shop.kind == "parquet":
            pq.write_table(listed, at / "items.parquet")
        else:
            with (at / "items.csv").open("w", newline="", encoding="utf-8") as out:
                csv.writer(out).writerows([["item_id", "title"], *([item, "x"] for item in shop.listed)])


def parts(shop: Shop) -> list[list[tuple]]:
    bounds = [0, *shop.cuts, len(shop.log)]
    cut = [shop.log[low:high] for low, high in zip(bounds, bounds[1:], strict=False)]
    return [rows for rows in cut if rows]


def write_csv(file: Path, rows: list[tuple]) -> None:
    file.parent.mkdir(exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["user_id", "item_id", "timestamp", "stars"])
        writer.writerows([[as_text(value) for value in row] for row in rows])


def columns_of(shop: Shop, rows: list[tuple]) -> pa.Table:
    users, items, times, stars = zip(*rows, strict=True)
    columns = {}
    for name, kind, values in (
        ("user", "user_id", users),
        ("item", "item_id", items),
        ("time", "timestamp", times),
    ):
        wanted = shop.types[name] or pa.string()
        is_text = any(
            test(wanted) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
        )
        plain = pa.array(map(as_text, values), pa.string()) if is_text else pa.array(values)
        columns[kind] = plain if is_text and wanted == pa.string() else plain.cast(wanted)
    return pa.table(columns | {"stars": pa.array(stars)})


# ---- the twin ----------------------------------------------------------------------------------


class Refused(Exception):
    pass


@dataclass
class Published:
    histories: dict[str, tuple[list[str], list[int], int, int]]
    """user -> items, times, train_end, valid_end."""
    items: list[str]
    dropped: dict[str, int]
    rows: int


def twin(shop: Shop) -> Published:
    """What `prepare` must publish. Raises Refused where it must not."""
    dataset = Dataset(source=shop.kind, path="x", **shop.dataset)
    published = dataset.split == "published"
    if published and (dataset.repeats != "first" or dataset.time_unit):
        raise Refused("a published split has no times")
    raw = [(*row, 0) for row in shop.log] + [(*row, 1) for row in shop.test]
    dropped: Counter[str] = Counter()
    kept: list[tuple[str, str, Any]] = []
    for user, item, time, stars, part in raw:
        moment = Time(part, 0, None) if published else parse(time, dataset.time_unit)
        user, item = (as_text(one).strip() if one is not None else "" for one in (user, item))
        reason = (
            "null_user_id" if not user
            else "null_item_id" if not item
            else "null_word_user_id" if user in dataset.null_words
            else "null_word_item_id" if item in dataset.null_words
            else "null_timestamp" if moment is None
            else "rating_below_min" if dataset.min_rating is not None and stars < dataset.min_rating
            else None
        )  # fmt: skip
        dropped.update([reason] if reason else [])
        if reason is None:
            kept.append((user, item, moment))
    if (
        any(dropped[f"null_{name}"] > 0.01 * len(raw) for name in ("user_id", "item_id", "timestamp"))
        or not kept
    ):
        raise Refused("too much is missing")

    stamped = stamp(kept)
    listed = listed_items(shop, dataset, {item for _, item, _ in kept})
    met = {item for _, item, _ in kept}
    codes = [*listed, *sorted(met - set(listed), key=str.encode)]
    histories = fold(stamped, dataset.repeats)
    before = sum(map(len, histories.values()))
    histories = k_core(histories, dataset.k_core)
    left = {item for history in histories.values() for item, _ in history}
    dropped["k_core"] = before - sum(map(len, histories.values()))
    items = [item for item in codes if item in left or item not in met] if dataset.k_core else codes
    cuts = temporal_cuts(histories, dataset) if dataset.split == "temporal" else None
    result = {user: split(user, history, dataset, cuts, items) for user, history in histories.items()}
    dropped["duplicate"] = len(kept) - dropped["k_core"] - sum(len(one[0]) for one in result.values())
    ends = [(train_end, len(own) - valid_end) for own, _, train_end, valid_end in result.values()]
    if (
        len(items) < 2
        or not any(train for train, _ in ends)
        or not any(train and test for train, test in ends)
    ):
        raise Refused("nobody to evaluate")
    return Published(result, items, dict(dropped), len(raw))


@dataclass(frozen=True)
class Time:
    whole: int
    billionths: int | None
    """None: a date, in nanoseconds."""
    exact: Fraction | None
    """Where the two are not all: what it was."""


def parse(value: Any, unit: str | None) -> Time | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and ("-" in value or ":" in value):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise Refused("no date") from None
    if isinstance(value, date):
        moment = value if isinstance(value, datetime) else datetime(*value.timetuple()[:3])
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        nanoseconds = (moment - EPOCH) // timedelta(microseconds=1) * 1000
        return Time(held(nanoseconds), None, None)
    try:
        number = Fraction(Decimal(str(value)))
    except ArithmeticError:
        raise Refused("no number") from None
    if unit:
        whole = floor(number * UNITS[unit])
        return Time(held(whole), 0, None if whole == number * UNITS[unit] else number)
    whole = held(floor(number))
    billionths = floor((number - whole) * 10**9)
    exact = Fraction(billionths, 10**9) + whole == number
    return Time(whole, billionths, None if exact else number)


def held(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise Refused("beyond 64 bits")
    return number


def stamp(kept: list[tuple[str, str, Time]]) -> list[tuple[str, str, int]]:
    """Times as int64. Raises Refused for two kinds of times, and where two of a user become equal."""
    if len({time.billionths is None for _, _, time in kept}) > 1:
        raise Refused("dates and numbers")
    scale = 10**9 if any(time.billionths for _, _, time in kept) else 1
    values: dict[tuple[str, int], set[Fraction | None]] = {}
    stamped = []
    for user, item, time in kept:
        timestamp = held(time.whole * scale + (time.billionths or 0) * (scale > 1))
        values.setdefault((user, timestamp), set()).add(time.exact)
        stamped.append((user, item, timestamp))
    if any(len(exact) > 1 for exact in values.values()):
        raise Refused("times become equal")
    return stamped


def listed_items(shop: Shop, dataset: Dataset, met: set[str]) -> list[str]:
    listed = [item for item in dict.fromkeys(shop.listed or []) if item not in dataset.null_words]
    if listed and all(item.endswith(".0") for item in listed) and all(item.isdigit() for item in met):
        return [item.removesuffix(".0") for item in listed]
    return listed


History = list[tuple[str, int]]


def fold(log: Iterable[tuple[str, str, int]], repeats: str) -> dict[str, History]:
    histories: dict[str, History] = {}
    for user, item, time in sorted(log, key=lambda row: row[2]):
        history = histories.setdefault(user, [])
        met = [entry for entry in history if entry[0] == item]
        if met and repeats == "last":
            history.remove(met[0])
        if not met or repeats != "first":
            history.append((item, time))
    return histories


def k_core(histories: dict[str, History], k: int) -> dict[str, History]:
    while True:
        users = {item: 0 for history in histories.values() for item, _ in history}
        for history in histories.values():
            for item in {item for item, _ in history}:
                users[item] += 1
        smaller = {
            user: [entry for entry in history if users[entry[0]] >= k] for user, history in histories.items()
        }
        smaller = {
            user: history for user, history in smaller.items() if len({item for item, _ in history}) >= k
        }
        if not smaller:
            raise Refused("the core is empty")
        if smaller == histories:
            return histories
        histories = smaller


def temporal_cuts(histories: dict[str, History], dataset: Dataset) -> tuple[int, int]:
    times = [time for history in histories.values() for _, time in history]

    def cut(share: float) -> int:
        allowed = int(share * len(times))
        return min(time for time in {time + 1 for time in times} | {min(times)} if late(time) <= allowed)

    def late(edge: int) -> int:
        return sum(time >= edge for time in times)

    return cut(dataset.test_share + dataset.valid_share), cut(dataset.test_share)


def split(
    user: str, history: History, dataset: Dataset, cuts: tuple[int, int] | None, codes: list[str]
) -> tuple[list[str], list[int], int, int]:
    first = [item not in [met for met, _ in history[:place]] for place, (item, _) in enumerate(history)]
    if dataset.split == "temporal":
        train = [entry for entry in history if entry[1] < cuts[0]]
        later = [entry for entry, new in zip(history, first, strict=True) if new and entry[1] >= cuts[0]]
        valid = [entry for entry in later if entry[1] < cuts[1]]
    elif dataset.split == "published":
        given = [entry for entry in history if entry[1] == 0]
        chance = {item: lot(user, codes.index(item)) for item, _ in given}
        n = min(floor(dataset.valid_share * len(given) + 0.5), max(len(given) - 1, 0))
        drawn = sorted(chance, key=lambda item: chance[item])[:n]
        train = [entry for entry in given if entry[0] not in drawn]
        valid = [entry for entry in given if entry[0] in drawn]
        later = valid + history[len(given) :]
    else:
        news = [place for place, new in enumerate(first) if new]
        end = news[-2] if len(news) >= 3 else len(history)
        train, later = history[:end], [history[place] for place in news if place >= end]
        valid = later[:1]
    items, times = ([entry[part] for entry in train + later] for part in (0, 1))
    return items, times, len(train), len(train) + len(valid)


def lot(user: str, code: int) -> int:
    """splitmix64's finaliser over CRC-32 of the user, the item's code and the seed."""
    wrap = 2**64
    value = ((zlib.crc32(user.encode()) << 32) + code + (SEED + 1) * 0x9E3779B97F4A7C15) % wrap
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % wrap
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % wrap
    return value ^ (value >> 31)


# ---- both --------------------------------------------------------------------------------------


def really(shop: Shop, at: Path) -> Published:
    write(shop, at)
    columns = {"rating": "stars"}
    if (at / "log").exists():
        shop.dataset["interactions"] = "log"
    ws = Workspace(str(at / "ws"))
    dataset = Dataset(source=shop.kind, path=str(at), columns=columns, **shop.dataset)
    prepare(Recipe(name="twin", seed=SEED, dataset=dataset), ws)
    data = Prepared(ws)
    ids = data.items["item_id"].to_pylist()
    histories, met = {}, Counter()
    for row in read_histories(data.place).to_pylist():
        own = [ids[item] for item in row["items"]]
        histories[row["user_id"]] = (own, row["timestamps"], row["train_end"], row["valid_end"])
        met.update(row["items"][: row["train_end"]])
    assert data.items["train_count"].to_pylist() == [met[item] for item in range(len(ids))]
    assert data.counts["repeats"] == sum(len(own) - len(set(own)) for own, *_ in histories.values())
    return Published(
        histories, ids, {k: v for k, v in data.counts["dropped"].items() if v}, data.counts["rows"]
    )


def outcome(make: Callable[[], Published], refusal: type[Exception]) -> Published | None:
    try:
        return make()
    except refusal as error:
        event(f"refused: {error}" if refusal is Refused else "refused")
        return None


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), print_blob=True)
@given(shops())
def test_prepare_publishes_what_plain_python_finds_or_refuses(shop: Shop) -> None:
    expected = outcome(lambda: twin(shop), Refused)
    with tempfile.TemporaryDirectory() as folder:
        found = outcome(lambda: really(shop, Path(folder)), InputError)
    if expected is None or found is None:
        assert expected is found is None, "one refuses, the other does not"
        return
    expected.dropped = {reason: count for reason, count in expected.dropped.items() if count}
    assert found == expected
