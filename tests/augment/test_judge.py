"""The judge: every open proposal gets exactly one outcome, at most `keep` of a user are accepted, the best ones."""

import numpy as np
import pyarrow as pa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.augment.judge import blend, judge, select
from app.recipe import Judge
from app.schema import ACCEPTED, ANSWERS, HELD_OUT, OUTCOMES, REJECTED

score = st.one_of(st.none(), st.floats(0, 1, width=32))
proposal = st.fixed_dictionaries(
    {
        "text": st.just("x"),
        "item": st.integers(0, 99),
        "outcome": st.sampled_from([None, None, HELD_OUT]),
        "likelihood": score,
        "yes_no": score,
        "agreement": score,
        "confidence": st.none(),
    }
)


def answers(proposals: list[list[dict]]) -> pa.Table:
    blank = {name: None for name in ANSWERS.names}
    return pa.Table.from_pylist(
        [blank | {"user": user, "proposals": row} for user, row in enumerate(proposals)], ANSWERS
    )


@settings(max_examples=80, deadline=None)
@given(
    proposals=st.lists(st.lists(proposal, max_size=8), min_size=1, max_size=4),
    keep=st.integers(1, 4),
    threshold=st.floats(0, 1),
    tail_share=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_outcomes_add_up_and_the_best_are_kept(proposals, keep, threshold, tail_share):
    rare = np.arange(100) < 50
    judged = judge(answers(proposals), Judge(keep=keep, threshold=threshold), tail_share, rare).to_pylist()
    for before, after in zip(proposals, judged, strict=True):
        outcomes = [p["outcome"] for p in after["proposals"]]
        assert len(outcomes) == len(before) and set(outcomes) <= set(OUTCOMES)
        assert outcomes.count(HELD_OUT) == sum(p["outcome"] == HELD_OUT for p in before)
        opened = [p for p in after["proposals"] if p["outcome"] != HELD_OUT]
        assume(
            all(abs(p["confidence"] - threshold) > 1e-6 or threshold == 0 for p in opened)
        )  # stored as float32
        allowed = [p for p in opened if p["confidence"] >= threshold]
        accepted = [p for p in opened if p["outcome"] == ACCEPTED]
        assert len(accepted) == min(keep, len(allowed))
        if not tail_share and accepted and len(accepted) < len(opened):
            rejected = [p["confidence"] for p in opened if p["outcome"] == REJECTED]
            assert min(p["confidence"] for p in accepted) >= max(rejected)


@settings(max_examples=80, deadline=None)
@given(
    scores=st.lists(st.floats(0, 1), max_size=12),
    bits=st.integers(0, 2**12 - 1),
    keep=st.integers(1, 6),
    tail_share=st.floats(0, 1),
)
def test_reserved_seats_go_to_rare_items_as_far_as_there_are_any(scores, bits, keep, tail_share):
    rare = np.array([bool(bits >> place & 1) for place in range(len(scores))], bool)
    taken = select(np.array(scores), rare, keep, tail_share)
    assert len(taken) == len(set(taken.tolist())) == min(keep, len(scores))
    assert rare[taken].sum() >= min(round(keep * tail_share), rare.sum())
    free = select(np.array(scores), rare, keep, 0.0)
    assert sorted(np.array(scores)[free], reverse=True) == sorted(scores, reverse=True)[: len(free)]


def test_a_weight_of_zero_takes_a_signal_out():
    scores = {
        "likelihood": np.array([0.1, 0.4]),
        "agreement": np.array([9.0, 1.0]),
        "yes_no": np.array([0.0, 1.0]),
    }
    assert blend(scores, Judge(likelihood=1, agreement=0, yes_no=0)).tolist() == [0.25, 1.0]
    assert blend(scores, Judge(likelihood=0, agreement=1, yes_no=0)).argmax() == 0


def test_the_blend_does_not_depend_on_the_scale_of_a_signal():
    scores = {
        "likelihood": np.array([0.1, 0.4]),
        "agreement": np.array([9.0, 1.0]),
        "yes_no": np.array([0.3, 1.0]),
    }
    scaled = scores | {"agreement": scores["agreement"] * 1e-3}
    assert np.allclose(blend(scores, Judge()), blend(scaled, Judge()))
