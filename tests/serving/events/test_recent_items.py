"""What a replica remembers of users."""

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from longtail.serving.events import recent_items
from longtail.serving.events.recent_items import RecentItems, Taken

TAKEN = st.builds(Taken, st.sampled_from("uvw"), st.sampled_from("abcdefg"), st.integers(0, 9))


def test_items_are_in_order_of_time_each_once() -> None:
    recent = RecentItems(100)
    recent.add([Taken("u", "c", 5), Taken("u", "a", 3), Taken("v", "z", 1), Taken("u", "a", 9)])
    assert recent.of("u") == ["a", "c"] and recent.of("v") == ["z"] and recent.of("nobody") == []
    assert (recent.kept, recent.forgotten) == (3, 0)


@given(st.lists(TAKEN, max_size=40), st.randoms())
def test_neither_order_nor_repetition_matters_while_there_is_room(
    events: list[Taken], random: object
) -> None:
    """Times may be equal: then the order of arrival decides, so each user's items are compared as sets of that time."""
    recent, other = RecentItems(1000), RecentItems(1000)
    recent.add(events)
    mixed = [*events, *events]
    random.shuffle(mixed)
    assert other.add_older(mixed[:3]) and not other.add(mixed)
    for user in "uvw":
        first = {}
        for event in sorted((one for one in events if one.user_id == user), key=lambda one: one.time):
            first.setdefault(event.item_id, event.time)
        for found in (recent.of(user), other.of(user)):
            assert sorted(found) == sorted(first)
            assert [first[item] for item in found] == sorted(first.values())


@given(st.lists(TAKEN, max_size=60), st.integers(1, 12))
def test_the_bound_holds_and_who_did_something_last_is_kept(events: list[Taken], most: int) -> None:
    """Against a twin that forgets in the plainest way: whole users, who did nothing for longest first."""
    recent, twin = RecentItems(most), OrderedDict()
    for event in events:
        recent.add([event])
        twin.setdefault(event.user_id, set()).add(event.item_id)
        twin.move_to_end(event.user_id)
        while sum(map(len, twin.values())) > most:
            twin.popitem(last=False)
        assert recent.kept == sum(map(len, twin.values())) <= most
    assert {user: set(recent.of(user)) for user in "uvw"} == {user: twin.get(user, set()) for user in "uvw"}


def test_older_events_fill_what_room_there_is_and_are_forgotten_first() -> None:
    recent = RecentItems(3)
    assert recent.add_older([Taken("late", "a", 9), Taken("early", "b", 8)])
    assert not recent.add_older([Taken("late", "c", 7), Taken("first", "d", 1)])
    assert (recent.of("late"), recent.of("early"), recent.of("first")) == (["c", "a"], ["b"], [])
    recent.add([Taken("new", "e", 10)])
    assert (recent.of("late"), recent.of("early"), recent.of("new")) == (["c", "a"], [], ["e"])


def test_one_user_cannot_fill_the_memory(monkeypatch) -> None:
    monkeypatch.setattr(recent_items, "LATEST", 3)
    recent = RecentItems(100)
    recent.add([Taken("bot", f"i{n}", n) for n in range(10)])
    assert recent.of("bot") == ["i7", "i8", "i9"] and (recent.kept, recent.forgotten) == (3, 7)
