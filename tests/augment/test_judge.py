"""The judge: every open proposal gets exactly one outcome, at most `keep` of a user are accepted, the best ones."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from app.augment.judge import blend, judge
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
    return pa.Table.from_pylist([blank | {"user": user, "proposals": row} for user, row in enumerate(proposals)], ANSWERS)


@settings(max_examples=80, deadline=None)
@given(
    proposals=st.lists(st.lists(proposal, max_size=8), min_size=1, max_size=4),
    keep=st.integers(1, 4),
    threshold=st.floats(0, 1),
)
def test_outcomes_add_up_and_the_best_are_kept(proposals, keep, threshold):
    judged = judge(answers(proposals), Judge(keep=keep, threshold=threshold)).to_pylist()
    for before, after in zip(proposals, judged, strict=True):
        outcomes = [p["outcome"] for p in after["proposals"]]
        assert len(outcomes) == len(before) and set(outcomes) <= set(OUTCOMES)
        assert outcomes.count(HELD_OUT) == sum(p["outcome"] == HELD_OUT for p in before)
        accepted = [p["confidence"] for p in after["proposals"] if p["outcome"] == ACCEPTED]
        rejected = [p["confidence"] for p in after["proposals"] if p["outcome"] == REJECTED]
        assert len(accepted) <= keep and all(confidence >= threshold for confidence in accepted)
        if accepted and rejected:
            assert max(c for c in rejected) <= min(accepted) or len(accepted) == keep or min(rejected) < threshold
            assert max(accepted) >= max(rejected)


def test_a_weight_of_zero_takes_a_signal_out():
    scores = {"likelihood": np.array([0.1, 0.4]), "agreement": np.array([9.0, 1.0]), "yes_no": np.array([0.0, 1.0])}
    assert blend(scores, Judge(likelihood=1, agreement=0, yes_no=0)).tolist() == [0.25, 1.0]
    assert blend(scores, Judge(likelihood=0, agreement=1, yes_no=0)).argmax() == 0


def test_the_blend_does_not_depend_on_the_scale_of_a_signal():
    scores = {"likelihood": np.array([0.1, 0.4]), "agreement": np.array([9.0, 1.0]), "yes_no": np.array([0.3, 1.0])}
    scaled = scores | {"agreement": scores["agreement"] * 1e-3}
    assert np.allclose(blend(scores, Judge()), blend(scaled, Judge()))
