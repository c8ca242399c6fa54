"""The judge: every open proposal gets exactly one outcome, and the best of a user are accepted. The same answers can be
judged again, as a sweep does."""

from collections import Counter

import numpy as np
import pyarrow as pa
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from longtail.augment.judge import SCORES, blend, judge, likeliest, rankings, select, with_agreement
from longtail.data.catalogue import SLICES
from longtail.recipe import Judge
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.itemcf import ItemCF
from longtail.recommenders.models.itemcf import ItemCFSection as Section
from longtail.schema import ACCEPTED, ALREADY_SEEN, DUPLICATE, NOT_CHOSEN, NOT_IN_CATALOGUE, REJECTED
from tests.augment.conftest import answers
from tests.recommenders.conftest import clusters

N_ITEMS = 20
RARE = np.arange(N_ITEMS) < 10
CODES = np.arange(N_ITEMS) % len(SLICES)
# Multiples of 1/4 are exact in float32 and often equal.
score = st.one_of(st.none(), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
open_proposal = st.fixed_dictionaries(
    {
        "item": st.integers(0, N_ITEMS - 1),
        "outcome": st.sampled_from([None, None, None, ACCEPTED, REJECTED, DUPLICATE, NOT_CHOSEN]),
        "likelihood": score,
        "yes_no": score,
        "agreement": score,
    }
)
ungrounded = st.just({"item": None, "outcome": NOT_IN_CATALOGUE, "likelihood": 0.5})
row = st.lists(st.one_of(open_proposal, open_proposal, ungrounded), max_size=7)
table = st.lists(row, min_size=1, max_size=4)
judges = st.builds(
    Judge,
    likelihood=st.sampled_from([0.5, 1.0]),
    agreement=st.sampled_from([0.0, 0.5]),
    yes_no=st.sampled_from([0.0, 1.0]),
    relative=st.booleans(),
    tail_boost=st.sampled_from([0.5, 1.0, 2.0]),
    tail_share=st.sampled_from([0.0, 0.5, 1.0]),
    threshold=st.sampled_from([0.0, 0.3]),
    keep=st.integers(1, 4),
)
OPEN = (None, ACCEPTED, REJECTED)


def of(rows: list[list[dict]]) -> pa.Table:
    return answers([{"proposals": row} for row in rows])


def outcomes(table: pa.Table) -> list[list[str]]:
    return [[one["outcome"] for one in row] for row in table["proposals"].to_pylist()]


def blended(row: list[dict], settings: Judge, names: tuple[str, ...] = SCORES) -> list[float]:
    """The confidence of each proposal of a row, one at a time."""
    found, total = [0.0] * len(row), sum(getattr(settings, name) for name in names)
    for name in names:
        values = [one.get(name) or 0.0 for one in row]
        largest = max(values, default=0.0) if settings.relative else 1.0
        for place, value in enumerate(values):
            found[place] += getattr(settings, name) / total * (value / largest if largest else 0.0)
    return found


def best(scores: list[float], rare: list[bool], keep: int, tail_share: float) -> set[int]:
    """Indices of the accepted proposals: first the seats for rare items, then the best of the others."""
    possible = [place for place in range(len(scores)) if scores[place] > -np.inf]
    order = sorted(possible, key=lambda place: (-scores[place], place))
    seated = [place for place in order if rare[place]][: round(keep * tail_share)]
    others = [place for place in order if place not in seated]
    return {*seated, *others[: keep - len(seated)]}


@given(rows=table, settings=judges)
def test_judge_equals_a_loop_over_users(rows, settings):
    expected = []
    for own in rows:
        opened = [place for place, one in enumerate(own) if one["outcome"] in OPEN]
        confidence = blended([own[place] for place in opened], settings)
        rare = [bool(RARE[own[place]["item"]]) for place in opened]
        boosted = [
            value * (settings.tail_boost if few else 1) for value, few in zip(confidence, rare, strict=True)
        ]
        assume(all(abs(value - settings.threshold) > 1e-9 for value in boosted))
        allowed = [value if value >= settings.threshold else -np.inf for value in boosted]
        taken = best(allowed, rare, settings.keep, settings.tail_share)
        after = [one["outcome"] for one in own]
        for number, place in enumerate(opened):
            after[place] = ACCEPTED if number in taken else REJECTED
        expected.append(after)
    judged = judge(of(rows), settings, RARE)
    assert outcomes(judged) == expected
    for own in judged["proposals"].to_pylist():
        assert all((one["confidence"] is not None) == (one["outcome"] in OPEN) for one in own)
        assert all(0 <= one["confidence"] <= 1 for one in own if one["confidence"] is not None)


@given(rows=table, settings=judges, others=judges)
def test_a_judgement_can_be_judged_again(rows, settings, others):
    once = judge(of(rows), settings, RARE)
    assert judge(judge(of(rows), others, RARE), settings, RARE).equals(once)


@given(rows=table, settings=judges)
def test_a_slice_is_judged_as_the_whole(rows, settings):
    """Ray Data passes slices of blocks, whose arrays have an offset."""
    padded = of([[{"item": 3, "likelihood": 1.0}], *rows, [{"item": 4, "likelihood": 1.0}]])
    assert outcomes(judge(padded, settings, RARE).slice(1, len(rows))) == outcomes(
        judge(padded.slice(1, len(rows)), settings, RARE)
    )


@given(rows=table, settings=judges)
def test_likeliest_accepts_as_many_of_each_slice_by_likelihood_alone(rows, settings):
    judged = judge(of(rows), settings, RARE)
    found = likeliest(judged, CODES)
    for before, after in zip(judged["proposals"].to_pylist(), found["proposals"].to_pylist(), strict=True):
        opened = [place for place, one in enumerate(before) if one["outcome"] in OPEN]
        expected = set()
        for code in range(len(SLICES)):
            own = [place for place in opened if CODES[before[place]["item"]] == code]
            count = sum(before[place]["outcome"] == ACCEPTED for place in own)
            known = [place for place in own if before[place]["likelihood"] is not None]
            expected |= set(sorted(known, key=lambda place: -before[place]["likelihood"])[:count])
        assert {place for place, one in enumerate(after) if one["outcome"] == ACCEPTED} == expected
        assert [one["item"] for one in after] == [one["item"] for one in before]


@given(
    scores=st.lists(st.lists(st.sampled_from([-np.inf, 0.0, 0.25, 0.5]), max_size=6), max_size=5),
    bits=st.integers(0, 2**30 - 1),
    keep=st.integers(0, 5),
    tail_share=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)
def test_select_equals_a_loop_over_rows(scores, bits, keep, tail_share):
    flat = np.array([value for row in scores for value in row])
    rows = np.repeat(np.arange(len(scores)), [len(row) for row in scores])
    rare = np.array([bool(bits >> place & 1) for place in range(len(flat))], bool)
    expected, start = [], 0
    for row in scores:
        own = rare[start : start + len(row)].tolist()
        expected += [start + place for place in sorted(best(row, own, keep, tail_share))]
        start += len(row)
    taken = select(flat, rows, rare, keep, tail_share)
    assert np.flatnonzero(taken).tolist() == expected
    assert (select(flat, rows, rare, np.full(len(flat), keep), tail_share) == taken).all()


@given(
    rows=st.lists(st.lists(st.fixed_dictionaries({name: score for name in SCORES}), max_size=5)),
    settings=judges,
)
def test_blend_equals_a_loop(rows, settings):
    flat = [one for row in rows for one in row]
    numbers = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    scores = {
        name: np.array([np.nan if one[name] is None else one[name] for one in flat], np.float32)
        for name in SCORES
    }
    expected = [value for row in rows for value in blended(row, settings)]
    np.testing.assert_allclose(blend(scores, numbers, settings), expected)


def test_a_relative_judge_does_not_depend_on_the_scale_of_a_signal():
    scores = {
        "likelihood": np.array([0.1, 0.4]),
        "agreement": np.array([9.0, 1.0]),
        "yes_no": np.array([0.3, 1.0]),
    }
    rows = np.zeros(2, np.int64)
    scaled = scores | {"agreement": scores["agreement"] * 1e-3}
    np.testing.assert_allclose(blend(scores, rows, Judge()), blend(scaled, rows, Judge()))


@given(rows=table, settings=judges)
def test_rankings_are_all_candidates_of_a_user_best_first(rows, settings):
    found = {one["user"]: one for one in rankings(of(rows), settings, RARE).to_pylist()}
    for user, own in enumerate(rows):
        candidates = [one for one in own if one["outcome"] in (*OPEN, NOT_CHOSEN)]
        if not candidates:
            assert user not in found
            continue
        scores = blended(candidates, settings, SCORES[:2])
        boosted = [
            (value * (settings.tail_boost if RARE[one["item"]] else 1), one["item"])
            for value, one in zip(scores, candidates, strict=True)
        ]
        assert found[user]["items"] == [
            item for _, item in sorted(boosted, key=lambda one: (-one[0], one[1]))
        ]
        np.testing.assert_allclose(found[user]["scores"], sorted((one[0] for one in boosted), reverse=True))


def test_agreement_is_the_score_of_itemcf_after_the_training_history():
    train = clusters(users=30)
    itemcf = ItemCF("itemcf", Section()).fit(train)
    rows = [
        [
            {"item": item, "likelihood": 0.5, "outcome": [None, ACCEPTED, NOT_CHOSEN][item % 3]}
            for item in (1, 15)
        ]
        + [{"item": 2, "outcome": ALREADY_SEEN}, {"item": None, "outcome": NOT_IN_CATALOGUE}]
        for _ in range(30)
    ]
    table = with_agreement(of(rows), itemcf)
    dense = itemcf.score(Histories.observed(train), None)
    assert isinstance(itemcf.similarity, csr_matrix)
    for user, own in enumerate(table["proposals"].to_pylist()):
        for one in own[:2]:
            assert np.isclose(one["agreement"], max(dense[user, one["item"]], 0.0))
        assert own[2]["agreement"] is None and own[3]["agreement"] is None


def test_without_proposals_there_is_nothing_to_judge():
    empty = of([[], []])
    settings = Judge()
    assert judge(empty, settings, RARE).equals(empty) and likeliest(empty, CODES).equals(empty)
    assert len(rankings(empty, settings, RARE)) == 0
    assert Counter(map(len, judge(empty.slice(0, 0), settings, RARE)["proposals"])) == {}
