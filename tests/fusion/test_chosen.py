"""What a variant adds: each accepted item of a user once, the surest first; and preferences, weighed by their strategy."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.data.catalogue import SLICES
from longtail.fusion.chosen import choose, preferences
from longtail.recipe import Judge
from longtail.schema import ACCEPTED, DUPLICATE, NOT_CHOSEN, PREFERENCES, REJECTED, UNDECIDED, UNPARSABLE
from longtail.workspace.place import Place
from tests.augment.conftest import answers

N_USERS, N_ITEMS = 6, 12
TAIL, HEAD = SLICES.index("tail"), SLICES.index("head")
CODES = np.where(np.arange(N_ITEMS) < 4, TAIL, HEAD)
JUDGE = Judge(likelihood=0.0, agreement=1.0, yes_no=0.0, keep=2, relative=False)


def place(folder: Path, *files: list[dict]) -> Place:
    """Published answers in as many files as there are lists of rows."""
    found = Place(pafs.LocalFileSystem(), str(folder))
    for number, rows in enumerate(files):
        table = answers([{"request_id": f"{number}{at}", **row} for at, row in enumerate(rows)])
        (found / f"{number}.parquet").write_table(table)
    return found


def by_user(histories) -> list[list[int]]:
    return [
        histories.items[start:end].tolist()
        for start, end in zip(histories.indptr, histories.indptr[1:], strict=False)
    ]


def next_item(user: int, agreement: list[float], likelihood: list[float]) -> dict:
    proposals = [
        {"item": item, "agreement": one, "likelihood": other, "outcome": REJECTED}
        for item, (one, other) in enumerate(zip(agreement, likelihood, strict=True))
    ]
    return {"user": user, "proposals": proposals}


def test_a_judge_of_its_own_chooses_anew_and_generated_takes_as_many_by_likelihood(tmp_path):
    """The outcomes in the file are those of the recipe's judge; `choose` judges with the one it is given."""
    rows = [
        next_item(4, [0.1, 0.9, 0.5, 0.2], [0.9, 0.1, 0.2, 0.8]),
        next_item(1, [0.3, 0.0, 0.0, 0.6], [0.1, 0.2, 0.9, 0.3]),
    ]
    found = {"next_item": place(tmp_path, rows)}
    chosen = choose(found, "discriminated", JUDGE, CODES, N_USERS)
    assert by_user(chosen.added) == [[], [3, 0], [], [], [1, 2], []]
    assert not len(chosen.dropped.items)
    generated = choose(found, "generated", JUDGE, CODES, N_USERS)
    assert [set(row) for row in by_user(generated.added)] == [set(), {2, 3}, set(), set(), {0, 3}, set()]
    strict = choose(found, "discriminated", JUDGE.model_copy(update={"threshold": 0.55}), CODES, N_USERS)
    assert by_user(strict.added) == [[], [3], [], [], [1], []]
    fewer = choose(found, "generated", JUDGE.model_copy(update={"threshold": 0.55}), CODES, N_USERS)
    assert by_user(fewer.added) == [[], [2], [], [], [0], []]


def test_generated_has_as_many_of_each_slice_as_the_judge_kept(tmp_path):
    """The judge keeps items 5 (head) and 1 (tail). The generator's own first two would be both of the head."""
    agreement, likelihood = [0.1, 0.7, 0.2, 0.1, 0.3, 0.9, 0.4], [0.2, 0.1, 0.3, 0.0, 0.7, 0.6, 0.9]
    found = {"next_item": place(tmp_path, [next_item(3, agreement, likelihood)])}
    judged, generated = (
        choose(found, variant, JUDGE, CODES, N_USERS) for variant in ("discriminated", "generated")
    )
    assert by_user(judged.added)[3] == [5, 1] and set(by_user(generated.added)[3]) == {6, 2}
    users = np.array([3, 0])
    for chosen in (judged, generated):
        amounts = chosen.amounts(users)
        assert amounts.added[:, [HEAD, TAIL]].tolist() == [[1, 1], [0, 0]] and amounts.added.sum() == 2
        assert amounts.proposed[:, [HEAD, TAIL]].tolist() == [[3, 4], [0, 0]]


def test_without_hits_the_next_open_proposal_takes_the_seat(tmp_path):
    """User 4 took item 3 later, and user 1 items 0 and 2. No other proposal of user 1 can take the second seat."""
    rows = [
        next_item(4, [0.1, 0.2, 0.5, 0.9], [0.5] * 4),
        next_item(1, [0.9, 0.1, 0.8], [0.5] * 3),
        {"user": 0, "proposals": [{"item": None, "outcome": UNPARSABLE}]},
    ]
    taken = [[], [5, 0, 2], [], [3], [5, 3], []]
    data = Place(pafs.LocalFileSystem(), str(tmp_path / "data"))
    columns = {"user": range(N_USERS), "items": taken, "train_end": [0, 1, 0, 0, 1, 0]}
    (data / "histories/a.parquet").write_table(pa.table({name: list(own) for name, own in columns.items()}))
    found = {"next_item": place(tmp_path / "answers", rows[:1], rows[1:])}
    whole, without = (
        choose(found, variant, JUDGE, CODES, N_USERS, data) for variant in ("discriminated", "without_hits")
    )
    assert by_user(whole.added) == [[], [0, 2], [], [], [3, 2], []]
    assert by_user(without.added) == [[], [1], [], [], [2, 1], []]


def test_refined_drops_what_screening_rejected(tmp_path):
    screened = [
        {"user": 2, "proposals": [{"item": 5, "outcome": REJECTED}, {"item": 6, "outcome": ACCEPTED}]},
        {"user": 0, "proposals": [{"item": 7, "outcome": NOT_CHOSEN}]},
    ]
    found = {
        "next_item": place(tmp_path / "next", [next_item(2, [0.9], [0.5])]),
        "screening": place(tmp_path / "screening", screened),
    }
    chosen = choose(found, "refined", JUDGE, CODES, N_USERS)
    assert by_user(chosen.added)[2] == [0]
    assert by_user(chosen.dropped) == [[], [], [5], [], [], []]


outcome = st.sampled_from([ACCEPTED, ACCEPTED, DUPLICATE, REJECTED])
proposal = st.tuples(st.integers(0, N_ITEMS - 1), outcome, st.sampled_from([0.25, 0.5, 0.75]))
request = st.tuples(st.integers(0, N_USERS - 1), st.lists(proposal, max_size=4))


@given(files=st.lists(st.lists(request, max_size=4), max_size=3))
def test_a_user_with_many_requests_gets_each_item_once(tmp_path_factory, files):
    """id_list asks several lists of a user, and the requests lie in any files."""
    rows = [
        [
            {
                "user": user,
                "proposals": [
                    {"item": item, "outcome": said, "likelihood": sure} for item, said, sure in own
                ],
            }
            for user, own in file
        ]
        for file in files
    ]
    found = {"id_list": place(tmp_path_factory.mktemp("answers"), *rows)}
    chosen = choose(found, "id_list", JUDGE, CODES, N_USERS)
    accepted = [set() for _ in range(N_USERS)]
    for user, own in (one for file in files for one in file):
        accepted[user] |= {item for item, said, _ in own if said == ACCEPTED}
    assert [sorted(row) for row in by_user(chosen.added)] == [sorted(row) for row in accepted]
    assert chosen.added.items.dtype == np.int32


def pairs() -> list[dict]:
    return [
        {
            "user": user,
            "proposals": [
                {"item": 1, "against": 2, "outcome": ACCEPTED, "likelihood": 0.75},
                {"item": 3, "against": 4, "outcome": UNDECIDED, "likelihood": 0.5},
                {"item": 5, "against": 6, "outcome": ACCEPTED, "likelihood": 0.5},
            ],
        }
        for user in range(200)
    ]


@pytest.mark.parametrize(("strategy", "confidence"), [("pairs", [1.0, 1.0]), ("cold_pairs", [0.75, 0.5])])
def test_preferences_are_the_decided_pairs(tmp_path, strategy, confidence):
    source = place(tmp_path / "answers", pairs()[:2], [], pairs()[2:3])
    target = Place(pafs.LocalFileSystem(), str(tmp_path / "preferences"))
    assert preferences(source, strategy, None, target) == 6
    table = target.read_table()
    assert table.schema.equals(PREFERENCES)
    assert sorted(
        zip(*(table[name].to_pylist() for name in ("user", "preferred", "rejected")), strict=True)
    ) == [(user, *pair) for user in range(3) for pair in ((1, 2), (5, 6))]
    assert table["strategy"].unique().to_pylist() == [strategy]
    first_user = table.filter(pa.compute.equal(table["user"], 0))
    assert first_user["confidence"].to_pylist() == confidence


def test_shuffled_preferences_keep_the_pairs_and_toss_a_coin(tmp_path):
    source = place(tmp_path / "answers", pairs())
    tables = []
    for seed in (None, 1, 1, 2):
        target = Place(pafs.LocalFileSystem(), str(tmp_path / f"to-{len(tables)}"))
        preferences(source, "cold_pairs", seed, target)
        tables.append(target.read_table())
    said, coin, again, other = (table["preferred"].to_pylist() for table in tables)
    assert coin == again != other
    for table in tables:
        both = {
            frozenset(pair)
            for pair in zip(table["preferred"].to_pylist(), table["rejected"].to_pylist(), strict=True)
        }
        assert both == {frozenset({1, 2}), frozenset({5, 6})}
    assert 140 < sum(one == two for one, two in zip(said, coin, strict=True)) < 260
    assert tables[0]["confidence"].equals(tables[1]["confidence"])
