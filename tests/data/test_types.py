"""Arrow's types in every place of a table: each is read with its meaning, or refused with file, column and type."""

import datetime
import decimal
import re
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from longtail.data.arrow_types import plain
from longtail.data.source import CATALOGUE, READ, Source
from longtail.errors import InputError
from longtail.workspace.place import Place
from tests.data.test_source_kinds import rows, source

PLAIN = {"user_id": ["u", "v"], "item_id": ["a", "b"], "timestamp": [1, 2], "rating": [1.0, 2.0]}
LISTED = {"item_id": ["a", "b"], "title": ["A", "B"], "kind": ["x", "y"]}
HERE = Place.named("/x.parquet", "test")


def opened(folder: Path, **columns: object) -> Source:
    put(folder, columns)
    return source(folder, "parquet", columns={"rating": "rating", "attributes": ["kind"]})


def put(folder: Path, columns: dict[str, object]) -> None:
    """A log and a catalogue of two rows; `columns` replace theirs."""
    for name, table in (("interactions", PLAIN), ("items", LISTED)):
        ours = {column: columns.get(column, values) for column, values in table.items()}
        pq.write_table(pa.table(ours), folder / f"{name}.parquet")


TEXTS = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
    pa.binary(1),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.large_string()),
]


@pytest.mark.parametrize("kind", TEXTS, ids=str)
def test_every_kind_of_text_is_text(tmp_path: Path, kind: pa.DataType) -> None:
    def column(*values: str | None) -> pa.Array:
        text = pa.array(values, pa.string())
        return text.dictionary_encode().cast(kind) if pa.types.is_dictionary(kind) else text.cast(kind)

    read = opened(
        tmp_path, user_id=column("u", "é"[:1] if kind != pa.binary(1) else "v"), item_id=column("a", None),
        timestamp=column("5", "6"), rating=column("3", None), title=column("A", None), kind=column("x", None),
    )  # fmt: skip
    assert [row[:4] for row in rows(read)] == [
        ("u", "a", rows(read)[0][2], 3),
        ("v" if kind == pa.binary(1) else "é", None, rows(read)[1][2], None),
    ]
    assert read.catalogue().to_pylist() == [
        {"item_id": "a", "title": "A", "attributes": [("kind", "x")]},
        {"item_id": None, "title": None, "attributes": []},
    ]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.string()),
        pa.large_list(pa.string_view()),
        pa.list_(pa.string(), 2),
        pa.list_view(pa.large_string()),
        pa.list_(pa.binary()),
        pa.list_(pa.dictionary(pa.int32(), pa.string())),
    ],
    ids=str,
)
def test_a_null_in_a_list_of_tags_drops_no_other(tmp_path: Path, kind: pa.DataType) -> None:
    """Before, `[x, null]` became no tag at all, for all rows but these of a fixed size, which were a traceback."""
    for tags, read in (([["x", None], None], ["x", None]), ([[None, None], ["y", "z"]], [None, "y|z"])):
        found = opened(tmp_path, kind=pa.array(tags, kind)).catalogue()["attributes"].to_pylist()
        assert found == [[("kind", tag)] if tag else [] for tag in read]


ONE = datetime.datetime(2020, 1, 1)
REFUSED = [
    (pa.array([{"a": 1}] * 2), {"user_id", "item_id", "timestamp", "rating", "title", "kind"}),
    (
        pa.array([[("a", 1)]] * 2, pa.map_(pa.string(), pa.int64())),
        {"user_id", "timestamp", "rating", "title", "kind"},
    ),
    (pa.array([[{"a": 1}]] * 2), {"user_id", "timestamp", "rating", "title", "kind"}),
    (pa.array([[["a"]]] * 2), {"user_id", "timestamp", "rating", "title", "kind"}),
    (pa.array([["a"]] * 2, pa.list_(pa.string(), 1)), {"user_id", "timestamp", "rating"}),
    (pa.array([b"\xff", b"a"]), {"user_id", "timestamp", "rating", "title", "kind"}),
    (
        pa.array([uuid.UUID(int=2**127 + 1).bytes] * 2, pa.uuid()),
        {"user_id", "timestamp", "rating", "title", "kind"},
    ),
    (pa.array([1, 2], pa.duration("us")), {"user_id", "rating"}),
    (pa.array([1, 2], pa.time32("s")), {"rating"}),
    (pa.array([ONE] * 2), {"rating"}),
    (pa.array([True, False]), {"rating"}),
    (pa.array([decimal.Decimal("1.5")] * 2), {"user_id"}),
    (pa.array([1.5, 2.5]), {"user_id"}),
    (pa.array(np.array([1, 2], np.float16)), {"user_id"}),
    (pa.array([2**60, 2**60 + 1]), {"rating"}),
]


@pytest.mark.parametrize(
    ("values", "name"),
    [(values, name) for values, names in REFUSED for name in sorted(names)],
    ids=[f"{values.type}-{name}" for values, names in REFUSED for name in sorted(names)],
)
def test_a_type_without_a_meaning_is_named(tmp_path: Path, values: pa.Array, name: str) -> None:
    kind = re.split(r"[<(\[]", str(values.type))[0].removeprefix("fixed_size_")
    file = "interactions" if name in PLAIN else "items"
    name_of_type = f"{name} .*{kind}" if pa.types.is_integer(values.type) else f"{name} has type .*{kind}"
    with pytest.raises(InputError, match=rf"{file}.parquet.*{name_of_type}"):
        read = opened(tmp_path, **{name: values})
        rows(read)
        read.catalogue()


def test_a_column_of_nothing_has_no_values(tmp_path: Path) -> None:
    nothing = pa.nulls(2)
    read = opened(tmp_path, item_id=nothing, rating=nothing, title=nothing, kind=nothing)
    assert [(row[1], row[3]) for row in rows(read)] == [(None, None)] * 2
    assert read.catalogue().to_pylist() == [{"item_id": None, "title": None, "attributes": []}] * 2


SIMPLE = st.sampled_from(
    [
        *TEXTS, pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.null(),
        pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ns", "UTC"), pa.time32("s"), pa.time64("ns"),
        pa.duration("ms"), pa.decimal128(6, 2), pa.decimal128(6, 0), pa.decimal256(60, 1), pa.json_(), pa.uuid(),
        pa.binary(16),
    ]
)  # fmt: skip
KINDS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(pa.large_list),
        inner.map(pa.list_view),
        inner.map(lambda kind: pa.list_(kind, 2)),
        inner.map(lambda kind: pa.struct([("x", kind)])),
        inner.map(lambda kind: pa.map_(pa.string(), kind)),
    ),
    max_leaves=3,
)


@settings(max_examples=300)
@given(
    SIMPLE | KINDS, st.sampled_from(["user_id", "item_id", "timestamp", "rating", "title", "kind"]), st.data()
)
def test_any_type_is_read_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, kind: pa.DataType, name: str, data: st.DataObject
) -> None:
    """No other error than InputError leaves the readers, and what they give has the types that they promise."""
    folder = tmp_path_factory.mktemp("types")
    try:
        put(folder, {name: data.draw(st.sampled_from([pa.nulls(2, kind), sample(kind)]))})
    except pa.ArrowNotImplementedError:
        event("Arrow cannot write it")
        return
    try:
        read = source(folder, "parquet", columns={"rating": "rating", "attributes": ["kind"]})
        tables = [table for piece in read.pieces for table in read.read(piece)]
        listed = read.catalogue()
    except InputError as error:
        assert name in str(error) and (".parquet" in str(error))
        return
    assert all(table.schema == READ for table in tables) and listed.schema == CATALOGUE
    for table in (*tables, listed):
        table.validate(full=True)


def sample(kind: pa.DataType) -> pa.Array:
    """Two values of a type, as far as Arrow has them: something and nothing."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, sample(kind.storage_type))
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(
            pa.array([0, None], kind.index_type), sample(kind.value_type)[:1]
        )
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays([sample(kind.field(0).type)], fields=[kind.field(0)])
    if pa.types.is_map(kind):
        entries = pa.array(["k", "l"]), sample(kind.item_type)
        return pa.MapArray.from_arrays(pa.array([0, 2, 2], pa.int32()), *entries)
    if pa.types.is_fixed_size_list(kind):
        return pa.FixedSizeListArray.from_arrays(pa.concat_arrays([sample(kind.value_type)] * 2), 2)
    if pa.types.is_list_view(kind):
        offsets, sizes = pa.array([0, 1], pa.int32()), pa.array([2, 0], pa.int32())
        return pa.ListViewArray.from_arrays(offsets, sizes, sample(kind.value_type))
    if pa.types.is_large_list(kind):
        return pa.LargeListArray.from_arrays(pa.array([0, 2, 2]), sample(kind.value_type))
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(pa.array([0, 2, 2], pa.int32()), sample(kind.value_type))
    text = "7" * (kind.byte_width if pa.types.is_fixed_size_binary(kind) else 1)
    if pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        return (
            pa.array([1, None], pa.int64()).cast(pa.float64()).cast(kind)
            if not pa.types.is_boolean(kind)
            else (pa.array([True, None]))
        )
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        wide = pa.int32() if kind.bit_width == 32 else pa.int64()
        return (
            pa.array([1, None], wide).cast(kind)
            if not pa.types.is_date64(kind)
            else pa.array([0, None], kind)
        )
    return pa.nulls(2) if pa.types.is_null(kind) else pa.array([text, None], pa.string()).cast(kind)


@given(st.lists(st.none() | st.lists(st.none() | st.text(max_size=3), max_size=3), max_size=6))
def test_lists_stay_what_they_are(table: list[list[str | None] | None]) -> None:
    for kind in (pa.list_(pa.string()), pa.large_list(pa.string_view()), pa.list_view(pa.string())):
        column = pa.chunked_array([pa.array(table, kind), pa.array(table, kind)[1:]])
        found = plain(column, "x", HERE, 0)
        assert found.to_pylist() == column.to_pylist() and found.type == pa.list_(pa.string())


def test_runs_are_written_out() -> None:
    column = pa.chunked_array([pc.run_end_encode(pa.array(["a", "a", None]))])
    assert plain(column, "x", HERE, 0).to_pylist() == ["a", "a", None]


def test_bytes_that_are_no_text_name_their_row(tmp_path: Path) -> None:
    wrong = pa.Array.from_buffers(pa.string(), 2, pa.array([b"v", b"\xe9"]).buffers())
    with pytest.raises(
        InputError, match=r"interactions.parquet, row 2: user_id has type string, .* not UTF-8"
    ):
        rows(opened(tmp_path, user_id=wrong))
    with pytest.raises(InputError, match=r"items.parquet, row 2: title has type string"):
        opened(tmp_path, title=wrong).catalogue()


def parquet_of(folder: Path) -> bytes:
    opened(folder)
    return (folder / "interactions.parquet").read_bytes()


def test_a_broken_parquet_file_is_one_message(tmp_path: Path) -> None:
    whole, file = parquet_of(tmp_path), tmp_path / "interactions.parquet"
    name = pa.table(PLAIN | {"prxnom": ["x", "y"]})
    pq.write_table(name, file, store_schema=False)
    broken = [
        (
            file.read_bytes().replace(b"prxnom", b"pr\xe9nom"),
            r"the name of a column, b'pr\\xe9nom', is not UTF-8",
        ),
        (whole[:-20], r"cannot be read as parquet"),
        (whole[:40] + whole[-200:], r"interactions.parquet"),
        (b"", r"cannot be read as parquet"),
        (b"PAR1" + bytes(50) + b"PARE", r"cannot be read as parquet"),
        (whole[:4] + bytes(60) + whole[64:], r"cannot be read as parquet"),
    ]
    for content, message in broken:
        file.write_bytes(content)
        with pytest.raises(InputError, match=message):
            rows(source(tmp_path, "parquet", columns={"rating": "rating"}))


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    opened(tmp_path)
    table = pa.table([["u"], ["v"], ["a"], [1]], names=["user_id", "user_id", "item_id", "timestamp"])
    pq.write_table(table, tmp_path / "interactions.parquet")
    with pytest.raises(InputError, match=r"interactions.parquet: 2 columns are called 'user_id'"):
        source(tmp_path, "parquet", columns={"title": None})
