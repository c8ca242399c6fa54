"""Places: what a user may name, and that a place's URI opens that place again, on any node."""

import pickle

import pytest

from longtail.errors import InputError
from longtail.workspace.place import Place

URIS = [
    "s3://bucket/run?endpoint_override=localhost:9000&scheme=http&region=us-east-1",
    "s3://bucket/a%20b/run?region=us-east-1",
    "s3://key:se%2Fcret@bucket/run?region=us-east-1",
    "s3://bucket?region=us-east-1",
    "gs://bucket/run",
    "abfss://container@account.dfs.core.windows.net/run",
    "file:///tmp/run",
    "/tmp/run",
]


@pytest.mark.parametrize("uri", URIS)
def test_the_uri_of_a_place_keeps_all_that_its_users_said(uri):
    place = Place.named(uri, "--workspace") / "data" / "items.parquet"
    again = Place.named(place.uri, "--workspace")
    assert (again.path, again.uri, again.fs.type_name) == (place.path, place.uri, place.fs.type_name)
    assert uri.partition("?")[2] in place.uri
    assert pickle.loads(pickle.dumps(place)).uri == place.uri
    assert place.parent.parent.uri == Place.named(uri, "--workspace").uri


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s4://x", "Unrecognized filesystem type"),
        ("~nobody-here/x", "home directory"),
        ("s3://", "names no bucket"),
        ("s3://bucket/run?endpoint=localhost", "Unexpected query parameter"),
        ("s3://bucket/a b", "Cannot parse URI"),
        ("", "names no folder"),
        ("a\0b", "names no folder"),
    ],
)
def test_what_nobody_can_open_is_one_message(uri, message):
    with pytest.raises(InputError, match=message) as raised:
        Place.named(uri, "--workspace")
    assert "--workspace" in str(raised.value) and "\n" not in str(raised.value)


def test_the_folders_above_end_with_the_root_or_the_bucket():
    assert [str(one) for one in Place.named("/a/b/c", "x").parents] == ["/a/b", "/a"]
    assert [str(one) for one in Place.named("mock:///bucket/a/b", "x").parents] == ["bucket/a", "bucket"]


def test_a_reader_never_sees_half_of_what_is_replaced(tmp_path):
    place = Place.named(str(tmp_path / "file"), "x")
    place.replace_bytes(b"old")
    with open(tmp_path / "file", "rb") as opened:
        place.replace_bytes(b"new and longer")
        assert opened.read() == b"old"
    assert place.read_bytes() == b"new and longer" and len(list(tmp_path.iterdir())) == 1
