"""A new version is loaded beside the old one and takes its place in one step, or is refused and changes nothing."""

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.aggregation.artefact import AGGREGATOR, FILE, fit_aggregator
from longtail.errors import InputError
from longtail.recipe import Serving
from longtail.schema import PRODUCTION
from longtail.serving.versions import version_watch as module
from longtail.serving.versions.version_watch import Versions, marks
from longtail.workspace import Workspace
from tests.aggregation.test_artefact import PLACES, RECIPE, published, refitted, ws

__all__ = ["ws"]


@dataclass(frozen=True)
class Numbers:
    """A snapshot whose two parts must be of one version."""

    version: str
    first: int
    second: int
    sound: bool = True

    def check(self) -> None:
        if not self.sound:
            raise ValueError("the question is not answered")


class Store:
    """What lies in a workspace: a number, and what is wrong with it, if anything."""

    def __init__(self) -> None:
        self.lies, self.loads = (0, ""), 0
        self.meanwhile: Callable[[], None] = lambda: None

    def marks(self) -> Hashable:
        if self.lies[1] == "unreadable":
            raise OSError("the bucket is away")
        return self.lies

    def load(self) -> Numbers:
        self.loads += 1
        number, broken = self.lies
        self.meanwhile()
        if broken == "missing":
            raise InputError("data is missing. Run longtail prepare.")
        return Numbers(str(number), number, self.lies[0], broken != "unsound")


def told() -> dict[str, float]:
    """The metrics of this process."""
    metrics = {"swaps": module.SWAPS, "refusals": module.REFUSALS, "refused": module.REFUSED}
    return {name: metric._value.get() for name, metric in metrics.items()}


def since(before: dict[str, float]) -> dict[str, float]:
    """How much the counters grew, and the gauge as it is."""
    now = told()
    return {name: now[name] - (0 if name == "refused" else before[name]) for name in now}


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def versions(store: Store) -> Versions[Numbers]:
    return Versions(store.load, store.marks)


def test_what_is_served_is_not_loaded_again(store: Store, versions: Versions[Numbers]) -> None:
    first = versions.current
    for _ in range(3):
        versions.look()
    assert versions.current is first and store.loads == 1
    assert (versions.state.serving, versions.state.refused) == ("0", None)


def test_a_new_version_takes_the_place_of_the_old_one(store: Store, versions: Versions[Numbers]) -> None:
    began = versions.current
    store.lies, before = (1, ""), told()
    versions.look()
    assert versions.current.version == versions.state.serving == "1"
    assert since(before) == {"swaps": 1, "refusals": 0, "refused": 0}
    assert began == Numbers("0", 0, 0), "a request that began before keeps its version"


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("missing", "data is missing. Run longtail prepare."),
        ("unsound", "ValueError: the question is not answered"),
        ("unreadable", "OSError: the bucket is away"),
    ],
)
def test_a_broken_version_leaves_the_old_one_and_is_named(
    store: Store, versions: Versions[Numbers], broken: str, says: str
) -> None:
    store.lies, before = (1, broken), told()
    versions.look()
    assert versions.current.version == versions.state.serving == "0" and versions.state.refused == says
    assert since(before) == {"swaps": 0, "refusals": 1, "refused": 1}
    store.lies = 2, ""
    versions.look()
    assert versions.current.version == "2" and versions.state.refused is None
    assert since(before) == {"swaps": 1, "refusals": 1, "refused": 0}


def test_a_refused_version_is_not_loaded_again_at_once_but_later(
    store: Store, versions: Versions[Numbers], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.lies = 1, "missing"
    for _ in range(3):
        versions.look()
    assert store.loads == 2
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    versions.look()
    assert store.loads == 3


def test_what_is_served_may_come_back(store: Store, versions: Versions[Numbers]) -> None:
    """The old files are there again: nothing is loaded, and nothing is wrong any more."""
    store.lies = 1, "missing"
    versions.look()
    store.lies = 0, ""
    versions.look()
    assert versions.state.refused is None and store.loads == 2


def test_what_is_written_to_while_it_is_loaded_is_not_served(
    store: Store, versions: Versions[Numbers]
) -> None:
    def rewritten() -> None:
        store.lies, store.meanwhile = (2, ""), lambda: None

    store.lies, store.meanwhile = (1, ""), rewritten
    versions.look()
    assert versions.current.version == "0" and "was written to" in versions.state.refused
    versions.look()
    assert versions.current == Numbers("2", 2, 2)


@settings(max_examples=40)
@given(tries=st.lists(st.sampled_from(["", "missing", "unsound", "unreadable"]), max_size=8))
def test_the_last_sound_version_is_always_served(tries: list[str]) -> None:
    store, before = Store(), told()
    versions, sound, refused = Versions(store.load, store.marks), 0, False
    for number, broken in enumerate(tries, start=1):
        store.lies = number, broken
        versions.look()
        sound, refused = (sound, True) if broken else (number, False)
        assert versions.current == Numbers(str(sound), sound, sound)
        assert versions.state.serving == str(sound) and bool(versions.state.refused) == refused
        assert since(before)["refused"] == refused
    assert since(before)["swaps"] == tries.count("")
    assert since(before)["refusals"] == len(tries) - tries.count("")


def test_without_a_first_version_there_is_nothing_to_serve(store: Store) -> None:
    store.lies = 0, "missing"
    with pytest.raises(InputError, match="data is missing"):
        Versions(store.load, store.marks)


def test_twenty_versions_under_load_two_of_them_broken(store: Store) -> None:
    versions, before = Versions(store.load, store.marks, every=0.001), told()
    done, mixed, answered = threading.Event(), [], [0] * 4

    def ask(number: int) -> None:
        while not done.is_set():
            held = versions.current
            parts = held.version, str(held.first)
            time.sleep(0)  # another thread may swap here
            if {*parts, str(held.second)} != {held.version}:
                mixed.append(held)
            answered[number] += 1

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for asker in askers:
        asker.start()
    versions.start()
    for number in range(1, 21):
        store.lies = number, {7: "missing", 13: "unsound"}.get(number, "")
        if store.lies[1]:
            wait_for(lambda: versions.state.refused)
        else:
            wait_for(lambda number=number: versions.state.serving == str(number))
    done.set()
    for asker in askers:
        asker.join()
    versions.stop()
    assert not mixed and min(answered) > 0
    assert (versions.state.serving, versions.state.refused) == ("20", None)
    assert since(before)["swaps"] == 18 and since(before)["refusals"] >= 2


def wait_for(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_what_is_published_changes_the_marks_and_nothing_else_does(ws: Workspace) -> None:
    """The artefact, what it was made of, and the choice fitted again on the whole log."""
    absent = marks(ws, Serving())
    fit_aggregator(RECIPE, ws)
    first = marks(ws, Serving())
    published(ws, "report")
    assert marks(ws, Serving()) == first != absent
    published(ws, PLACES["fit"], "trained again")
    again = marks(ws, Serving())
    published(ws, PLACES["fit"])
    assert marks(ws, Serving()) == first != again, "what was there before is there again"
    (ws / PLACES["answers"]).delete()
    gone = marks(ws, Serving())
    published(ws, PLACES["answers"])
    refitted(ws)
    fitted = marks(ws, Serving())
    assert len({absent, first, again, gone, fitted}) == 5
    (ws / f"{PRODUCTION}{AGGREGATOR}/{FILE}").write_bytes(b"{")
    assert marks(ws, Serving()) != fitted, "whatever is written there"
