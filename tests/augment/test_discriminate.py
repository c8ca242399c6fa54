"""Discrimination: each open proposal is asked about once, even if others are open later, and gets its own P(Yes). The cost
of the strategy's LLM and the cost of the discriminator are counted separately."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.augment.discriminate import FIRST, Heard, Judging, finished, heard_in, keep, share, unheard
from longtail.llm.prompts.building import Prompts
from longtail.llm.small_llama import build_tokenizer
from longtail.schema import ALREADY_SEEN, ANSWER, ANSWERS, DUPLICATE
from longtail.workspace.place import Place
from tests.augment.conftest import answered

N_ITEMS = 40
outcome = st.sampled_from([None, None, DUPLICATE, ALREADY_SEEN])
proposals = st.lists(st.tuples(st.integers(0, N_ITEMS - 1), outcome), max_size=5)
NOTHING_HEARD = Heard(*(np.zeros(0, kind) for kind in (np.uint64, np.float32, np.int32, np.float32)))


@pytest.fixture(scope="session")
def judging(catalogue) -> Judging:
    return Judging(
        Prompts(build_tokenizer(catalogue, "token"), catalogue, "token", history=5, context=300), "salt"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Place:
    return place_of(tmp_path)


def place_of(path: Path) -> Place:
    return Place(pafs.LocalFileSystem(), str(path)).make_folder()


def drafts(read: list[list[tuple[int, str | None]]], first_user: int = 0) -> pa.Table:
    """Rows after a strategy has read the answers: they have proposals."""
    return answered(
        [
            {
                "user": user,
                "user_id": f"u{user}",
                "history": [user, user + 1],
                "prompt_tokens": 10 + user,
                "output_tokens": 1,
                "seconds": 0.5,
                "questions": 1,
                "proposals": [{"item": one, "outcome": outcome, "likelihood": 0.5} for one, outcome in own],
            }
            for user, own in enumerate(read, first_user)
        ]
    ).drop_columns(["prompts", "options", "answers"])


def judged(asked: pa.Table, failing: int) -> pa.Table:
    """The answers of the discriminator's engine. The value of P(Yes) shows which prompt was asked; one row may fail."""
    columns: dict[str, list] = {
        "answers": [],
        "prompt_tokens": [],
        "output_tokens": [],
        "seconds": [],
        "error": [],
    }
    for row, own in enumerate(asked["prompts"].to_pylist()):
        said = [
            {
                "written": [1],
                "written_logprobs": [-0.1],
                "options": [0, 1],
                "option_logprobs": logprobs(prompt),
            }
            for prompt in own
        ]
        fails = row == failing and own
        columns["answers"].append([] if fails else said)
        columns["prompt_tokens"].append(sum(map(len, own)))
        columns["output_tokens"].append(len(own))
        columns["seconds"].append(0.25)
        columns["error"].append("boom" if fails else None)
    kinds = [pa.list_(ANSWER), pa.int32(), pa.int32(), pa.float32(), pa.string()]
    table = asked.drop_columns(["prompts", "options"])
    for (name, values), kind in zip(columns.items(), kinds, strict=True):
        table = table.append_column(name, pa.array(values, kind))
    return table


def logprobs(prompt: list[int]) -> list[float]:
    yes = (sum(prompt) % 97 + 1) / 99
    return [math.log(yes), math.log(1 - yes)]


def kept(asked: pa.Table, place: Place, failing: int = -1) -> Heard:
    """The known answers after the engine has answered."""
    table = judged(asked, failing)
    assert keep(table, place) is table
    return heard_in(place)


@given(read=st.lists(proposals, min_size=1, max_size=4), failing=st.integers(-1, 3))
def test_each_open_proposal_has_its_own_p_of_yes(tmp_path_factory, judging, read, failing):
    place = place_of(tmp_path_factory.mktemp("heard"))
    heard = kept(unheard(drafts(read), judging, NOTHING_HEARD), place, failing)
    table = finished(drafts(read), "next_item", judging, heard)
    assert table.drop_columns(["unheard"]).schema == ANSWERS and not any(table["unheard"].to_pylist())
    for user, (own, row) in enumerate(zip(read, table.to_pylist(), strict=True)):
        still_open = [one for one, outcome in own if outcome is None]
        fails = user == failing and still_open
        assert row["strategy"] == "next_item" and row["questions"] == 1
        assert (row["prompt_tokens"], row["output_tokens"], row["seconds"]) == (10 + user, 1, 0.5)
        assert row["judge_questions"] == len(still_open)
        assert row["judge_seconds"] == pytest.approx(0.25 if still_open else 0.0)
        prompts = [prompt_of(judging, user, item) for item in still_open]
        assert row["judge_tokens"] == sum(len(prompt) + 1 for prompt in prompts)
        assert [(one["item"], one["outcome"]) for one in row["proposals"]] == own
        for one in row["proposals"]:
            if one["outcome"] is not None or fails:
                assert one["yes_no"] is None
            else:
                yes = math.exp(logprobs(prompt_of(judging, user, one["item"]))[0])
                assert one["yes_no"] == pytest.approx(yes, rel=1e-5)


def prompt_of(judging: Judging, user: int, item: int) -> list[int]:
    return judging.prompts.yes_no(np.array([user, user + 1]), item).tolist()


@given(
    read=st.lists(proposals, min_size=2, max_size=4),
    later=st.lists(proposals, min_size=2, max_size=4),
    failing=st.integers(-1, 3),
)
def test_what_was_asked_is_not_asked_again_whatever_is_open_later(
    tmp_path_factory, judging, read, later, failing
):
    """After a change of grounding or split only new questions are asked. A rejected question counts as answered."""
    place = place_of(tmp_path_factory.mktemp("heard"))
    heard = kept(unheard(drafts(read), judging, NOTHING_HEARD), place, failing)
    waiting = finished(drafts(later), "next_item", judging, heard)
    asked = unheard(drafts(later), judging, heard)
    for user, own in enumerate(later):
        met = {one for one, outcome in read[user] if outcome is None} if user < len(read) else set()
        new = [one for one, outcome in own if outcome is None and one not in met]
        assert asked["prompts"][user].as_py() == [prompt_of(judging, user, one) for one in new]
        assert waiting["unheard"][user].as_py() == len(new)
    everything = kept(asked, place)
    assert not any(unheard(drafts(later), judging, everything)["asked"].to_pylist())
    assert not any(finished(drafts(later), "next_item", judging, everything)["unheard"].to_pylist())
    assert finished(drafts(read), "x", judging, everything).equals(
        finished(drafts(read), "x", judging, heard)
    )


def test_a_question_is_known_by_the_llm_the_user_and_the_prompt(judging):
    def known(salt: str = "salt", item: int = 3, user: int = 0) -> int:
        (_, _, (question,)) = Judging(judging.prompts, salt).questions(drafts([[(item, None)]], user))
        return int(question)

    assert len({known(), known("other"), known(item=4), known(user=1)}) == 4 and known() == known()


def test_a_question_that_two_files_hold_is_heard_once(judging, folder):
    """This happens if a task is repeated with another batch."""
    kept(unheard(drafts([[(3, None)], [(4, None)]]), judging, NOTHING_HEARD), folder)
    heard = kept(unheard(drafts([[(3, None)], []]), judging, NOTHING_HEARD), folder)
    assert len(folder.files(".parquet")) == 2 and len(heard.ids) == 2


@given(read=st.lists(proposals, min_size=3, max_size=5))
def test_a_slice_is_finished_as_the_whole(tmp_path_factory, judging, read):
    """Ray Data passes slices of blocks, whose arrays have an offset."""
    cut = 1, len(read) - 2
    asked = unheard(drafts(read), judging, NOTHING_HEARD)
    assert unheard(drafts(read).slice(*cut), judging, NOTHING_HEARD).equals(asked.slice(*cut))
    whole, part = (place_of(tmp_path_factory.mktemp(name)) for name in ("whole", "part"))
    heard = kept(asked, whole)
    keep(judged(asked, -1).slice(*cut), part)
    few = heard_in(part)
    places, there = heard.find(few.ids)
    assert there.all() and np.array_equal(heard.yes_no[places], few.yes_no)
    expected = finished(drafts(read), "next_item", judging, heard).slice(*cut)
    for known in (heard, few):
        assert finished(drafts(read).slice(*cut), "next_item", judging, known).equals(expected)


def test_without_a_discriminator_an_answer_is_finished_as_it_is():
    (row,) = finished(drafts([[(3, None), (4, ALREADY_SEEN)]]), "id_list").to_pylist()
    assert (row["strategy"], row["judge_questions"], row["judge_tokens"], row["judge_seconds"]) == (
        "id_list",
        0,
        0,
        0,
    )
    assert [one["yes_no"] for one in row["proposals"]] == [None, None]
    assert (row["questions"], row["prompt_tokens"], row["error"], row["unheard"]) == (1, 10, None, 0)


def test_an_answer_that_the_generator_failed_on_is_not_asked_about(judging, folder):
    failed = answered(
        [{"error": "too long", "proposals": [], "questions": 0}, {"proposals": [], "questions": 1}]
    ).drop_columns(["prompts", "options", "answers"])
    asked = unheard(failed, judging, NOTHING_HEARD)
    assert asked["prompts"].to_pylist() == [[], []]
    assert asked[FIRST + "error"].to_pylist() == ["too long", None]
    heard = kept(asked, folder)
    assert not folder.files(), "nothing was asked, no file"
    rows = finished(failed, "next_item", judging, heard).to_pylist()
    assert [row["error"] for row in rows] == ["too long", None]
    assert [row["judge_questions"] for row in rows] == [0, 0]


def test_options_are_yes_and_no_in_this_order(judging):
    asked = unheard(drafts([[(3, None)]]), judging, NOTHING_HEARD)
    assert asked["options"].to_pylist() == [[judging.prompts.yes, judging.prompts.no]]


@given(yes=st.floats(-50, 0, width=32), no=st.floats(-50, 0, width=32))
def test_the_share_is_that_of_yes_among_both(yes, no):
    (found,) = share(np.array([yes], np.float32), np.array([no], np.float32))
    assert found == pytest.approx(math.exp(yes) / (math.exp(yes) + math.exp(no)), rel=1e-4, abs=1e-30)
