"""TensorBoard events: what was added is what a reader of the event file finds, in local and in other places."""

import struct
from typing import Any

import pyarrow.fs as pafs
import pytest

from longtail.llm.finetune.tensorboard import Events
from longtail.workspace.place import Place


def events_in(place: Place) -> list[Any]:
    """Every event of a place's files, by the framing of TFRecord: length, its check, the event, its check."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in place.files():
        data = file.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            found.append(Event.FromString(data[12 : 12 + length]))
            data = data[12 + length + 4 :]
    return found


def scalars(place: Place) -> list[tuple[str, int, float]]:
    return [
        (value.tag, event.step, value.simple_value)
        for event in events_in(place)
        for value in event.summary.value
    ]


@pytest.fixture
def local(tmp_path):
    return Place(pafs.LocalFileSystem(), str(tmp_path / "tensorboard"))


@pytest.fixture
def elsewhere(tmp_path):
    """Not a LocalFileSystem to anyone who asks, as a bucket is not."""
    return Place(pafs.SubTreeFileSystem(str(tmp_path), pafs.LocalFileSystem()), "run/tensorboard")


@pytest.mark.parametrize("where", ["local", "elsewhere"])
def test_every_scalar_is_read_back(where, request):
    place = request.getfixturevalue(where)
    with Events(place) as events:
        events.add(1, loss=2.5, lr=0.001)
        events.add(2, loss=1.25, loss__valid=3.0)
    assert scalars(place) == [
        ("loss", 1, 2.5),
        ("lr", 1, pytest.approx(0.001)),
        ("loss", 2, 1.25),
        ("loss/valid", 2, 3.0),
    ]


@pytest.mark.parametrize("where", ["local", "elsewhere"])
def test_a_fault_loses_nothing_that_was_added(where, request):
    place = request.getfixturevalue(where)
    with pytest.raises(FloatingPointError), Events(place) as events:
        events.add(7, loss=float("inf"))
        raise FloatingPointError
    assert scalars(place) == [("loss", 7, float("inf"))]


def test_a_resumed_run_tells_tensorboard_where_it_begins(local):
    from tensorboardX.proto.event_pb2 import SessionLog

    with Events(local) as events:
        events.add(5, loss=1.0)
    begun = [(one.step, one.session_log.status) for one in events_in(local) if one.HasField("session_log")]
    assert begun == [(5, SessionLog.START)]


def test_closing_twice_does_no_harm(elsewhere):
    events = Events(elsewhere)
    events.add(1, loss=1.0)
    events.close()
    events.close()
    assert scalars(elsewhere) == [("loss", 1, 1.0)]
