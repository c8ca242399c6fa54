"""Answers in the ledger, read with other data: nothing is asked twice, and no old outcome is reused.

One LLM answers once, about forty users. Then the data changes, as it does between two days.
"""

import shutil
from collections.abc import Callable
from operator import itemgetter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from longtail.augment import augment
from longtail.data import prepare
from longtail.recipe import Recipe
from longtail.schema import ACCEPTED, ALREADY_SEEN, OUTCOMES
from longtail.workspace import Workspace
from tests.stack.small_llm import write_llm

pytestmark = pytest.mark.timeout(1800)
USERS, ITEMS, LONG, WINDOW = 40, 30, 8, 4
USER = itemgetter("user")
Log = dict[str, list[int]]
"""Items of each user, oldest first: the last is for the test, the one before for validation."""


def log() -> Log:
    rng = np.random.default_rng(3)
    return {f"u{user:02}": rng.permutation(ITEMS)[:LONG].tolist() for user in range(USERS)}


def write_log(folder: Path, histories: Log) -> None:
    folder.mkdir()
    rows = [
        {"user_id": user, "item_id": f"i{item:02}", "timestamp": time}
        for user, items in histories.items()
        for time, item in enumerate(items)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "interactions.parquet")
    listed = [{"item_id": f"i{item:02}", "title": f"Thing {item}"} for item in range(ITEMS)]
    pq.write_table(pa.Table.from_pylist(listed), folder / "items.parquet")


class Store:
    """One ledger, and one workspace for each state of the data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def augmented(self, name: str, histories: Log, yes_no: float = 0.0, **changes: object) -> list[dict]:
        """The answers for one state of the data, from the LLM of the first state."""
        write_log(self.folder / name, histories)
        recipe = Recipe.model_validate(
            {
                "name": "words",
                # All items are in the slice mid, so that new interactions do not change any prompt.
                "dataset": {
                    **{"source": "parquet", "path": str(self.folder / name), "split": "leave-one-out"},
                    **{"tail_max": 0, "head_share": 0},
                },
                "generator": {"history": WINDOW, "context": 128},
                "discriminator": {"history": WINDOW, "context": 128},
                "augment": [{"strategy": "next_item", "proposals": changes.pop("proposals", 6)}],
                "judge": {"likelihood": 1.0, "agreement": 0.5, "yes_no": yes_no, "keep": 3} | changes,
                "variants": ["observed", "discriminated"],
                "recommenders": {"itemcf": {}},
                "evaluation": {"protocol": "train-only"},
                "ledger": str(self.folder / "ledger"),
            }
        )
        ws = Workspace(str(self.folder / f"{name}-run"))
        prepare(recipe, ws)
        if (self.folder / "first-run/llm").exists():
            shutil.copytree(self.folder / "first-run/llm", self.folder / f"{name}-run/llm")
        else:
            for role in ("generator", "discriminator"):
                write_llm(ws, role=role)
        augment(recipe, ws)
        users = (ws / "data/histories").read_table(["user", "user_id"]).to_pylist()
        names = {row["user"]: row["user_id"] for row in users}
        table = (ws / "augmentation/next_item/answers").read_table()
        answers = sorted((row | {"user": names[row["user"]]} for row in table.to_pylist()), key=USER)
        assert [row["user"] for row in answers] == sorted(histories)
        counts = ws.manifests()["augmentation/next_item"]["counts"]
        said = [one["outcome"] for row in answers for one in row["proposals"]]
        assert counts["outcomes"] == {outcome: said.count(outcome) for outcome in OUTCOMES}
        assert counts["proposals"] == len(said) and counts["requests"] == len(histories)
        return answers

    def ledger(self, part: str = "next_item") -> dict[str, int]:
        files = (self.folder / "ledger" / part).rglob("*.parquet")
        return {str(file): file.stat().st_mtime_ns for file in files}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, ray_here: None) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def first(store: Store) -> list[dict]:
    """The answers of the first day."""
    return store.augmented("first", log())


def with_outcome(answers: list[dict], outcome: str) -> dict[str, list[int]]:
    """Items by user, the likeliest first. In these tests an item's code is the number in its id."""
    return {
        row["user"]: [one["item"] for one in row["proposals"] if one["outcome"] == outcome] for row in answers
    }


def new_items(answers: list[dict]) -> dict[str, int]:
    """For each user an accepted item that the user never took, not even later."""
    accepted, taken = with_outcome(answers, ACCEPTED), log()
    return {user: next(item for item in accepted[user] if item not in taken[user]) for user in taken}


def test_yesterdays_verdicts_are_not_believed(store: Store, first: list[dict]) -> None:
    """An item that was accepted is now an old interaction that is not in the prompt.

    Failed before: the requests are the same, and the outcomes were kept with the answers.
    """
    given, before = new_items(first), store.ledger()
    histories = {user: [given[user], *items[1:]] for user, items in log().items()}
    today = store.augmented("before-the-window", histories)
    assert store.ledger() == before, "nothing was asked"
    seen, accepted = with_outcome(today, ALREADY_SEEN), with_outcome(today, ACCEPTED)
    for user, item in given.items():
        assert item in seen[user] and not {*accepted[user]} & {*histories[user][:-2]}
    assert any(accepted.values()), "what else was said still counts"


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("test-item", lambda items, item: [*items[:-1], item]),
        ("validation-item", lambda items, item: [*items[:-2], item, items[-1]]),
    ],
)
def test_no_verdict_depends_on_what_is_held_out(
    store: Store, first: list[dict], name: str, change: Callable
) -> None:
    """An item that was accepted is now the user's test or validation item: a right guess, which stays accepted."""
    given, before = new_items(first), store.ledger()
    today = store.augmented(name, {user: change(items, given[user]) for user, items in log().items()})
    assert store.ledger() == before and today == first


def test_another_judge_asks_nothing(store: Store, first: list[dict]) -> None:
    before = store.ledger()
    few = store.augmented("keep-one", log(), keep=1, likelihood=0.2)
    assert store.ledger() == before and not store.ledger("yes_no")
    assert {len(items) for items in with_outcome(few, ACCEPTED).values()} == {1}


def test_users_who_come_later_are_the_only_ones_asked(store: Store, first: list[dict]) -> None:
    """Their ids come before all others, so all codes change. Failed before: all users were asked about again."""
    before = store.ledger()
    store.augmented(
        "more-users", {f"a{user}": items for user, items in enumerate([*log().values()][:5])} | log()
    )
    assert before.items() < store.ledger().items()
    ids = pq.read_table(store.folder / "ledger/next_item")["request_id"].to_pylist()
    assert len(ids) == len({*ids}) == USERS + 5


def test_a_judge_that_wants_yes_or_no_asks_the_discriminator_alone_and_about_nothing_twice(
    store: Store, first: list[dict]
) -> None:
    """Failed before: the generator was asked again; two more proposals made both LLMs answer everything again."""
    before = store.ledger()
    six = store.augmented("yes-no", log(), yes_no=0.5)
    asked = store.ledger("yes_no")
    assert store.ledger() == before and asked
    eight = store.augmented("eight", log(), yes_no=0.5, proposals=8)
    assert store.ledger() == before and asked.items() < store.ledger("yes_no").items()
    questions = pq.read_table(store.folder / "ledger/yes_no")["question"].to_pylist()
    assert len(questions) == len({*questions}) == sum(row["judge_questions"] for row in eight)
    for row, more in zip(six, eight, strict=True):
        known = {one["item"]: one["yes_no"] for one in row["proposals"] if one["yes_no"] is not None}
        later = {one["item"]: one["yes_no"] for one in more["proposals"] if one["yes_no"] is not None}
        assert len(known) <= 6 and len(later) <= 8 and known.items() <= later.items()
