"""A recommender in the generator's place proposes as much as the LLM did, and is judged as the LLM is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longtail.augment.judge import judge, rankings
from longtail.data.catalogue import SLICES
from longtail.fusion.amounts import Amounts, counted
from longtail.fusion.stand_ins import StandIn, likelihoods, proposed
from longtail.recipe import Judge
from longtail.recommenders import build
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.itemcf import ItemCF, ItemCFSection
from longtail.schema import ACCEPTED
from tests.augment.conftest import answers
from tests.recommenders.conftest import SECTIONS, clusters

TRAIN = clusters(users=20)
N_ITEMS = TRAIN.n_items
SEEN = Histories.observed(TRAIN)
USERS = np.arange(20)
CODES = np.arange(N_ITEMS) // 2 % len(SLICES)
RARE = np.isin(CODES, [SLICES.index("tail"), SLICES.index("cold")])
ITEMCF = ItemCF("itemcf", ItemCFSection()).fit(TRAIN)
MODELS = {name: build(name, SECTIONS[name], seed=1).fit(TRAIN) for name in ("swing", "bpr", "sasrec")}

judges = st.builds(
    Judge,
    likelihood=st.sampled_from([0.0, 0.5]),
    agreement=st.sampled_from([0.0, 0.5]),
    yes_no=st.just(0.2),
    relative=st.booleans(),
    tail_boost=st.sampled_from([0.5, 1.0]),
)


def row(histories: Histories, user: int) -> list[int]:
    return histories.items[histories.indptr[user] : histories.indptr[user + 1]].tolist()


@pytest.mark.parametrize("name", MODELS)
def test_likelihoods_are_probabilities_of_what_is_unknown(name):
    found = likelihoods(MODELS[name], USERS, SEEN)
    scores = MODELS[name].score(SEEN, USERS)
    for user in USERS:
        known = row(SEEN, user)
        assert not found[user, known].any()
        free = np.setdiff1d(np.flatnonzero(np.isfinite(scores[user])), known)
        own = scores[user, free].astype(float)
        weights = np.maximum(own, 0) if name == "swing" else np.exp(own)
        expected = weights / weights.sum() if weights.sum() else weights
        np.testing.assert_allclose(found[user, free], expected, rtol=1e-4, atol=1e-7)
        assert found[user].sum() == pytest.approx(1 if len(free) else 0, abs=1e-5)


amounts_of_a_user = st.lists(st.integers(0, 3), min_size=len(SLICES), max_size=len(SLICES))


@given(counts=st.lists(amounts_of_a_user, min_size=4, max_size=4), data=st.data())
def test_the_likeliest_of_each_slice_are_proposed(counts, data):
    likelihood = np.array(
        data.draw(
            st.lists(
                st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=8, max_size=8), min_size=4, max_size=4
            )
        ),
        np.float32,
    )
    codes = np.arange(8) % len(SLICES)
    rows, items, values = proposed(likelihood, np.array(counts), codes)
    assert (np.diff(rows) >= 0).all() and (values == likelihood[rows, items]).all()
    for user in range(4):
        for code in range(len(SLICES)):
            possible = [item for item in range(8) if codes[item] == code and likelihood[user, item] > 0]
            best = sorted(possible, key=lambda item: -likelihood[user, item])[: counts[user][code]]
            assert {*items[rows == user].tolist()} & {*possible} == {*best}


@pytest.mark.parametrize("name", MODELS)
@given(settings=judges, data=st.data())
def test_the_judge_takes_the_best_of_each_slice_as_from_the_llm(name, settings, data):
    """The same proposals, given as answers of an LLM to the judge with one slice at a time."""
    proposals = np.array(data.draw(st.lists(amounts_of_a_user, min_size=20, max_size=20)))
    added = np.minimum(proposals, np.array(data.draw(st.lists(amounts_of_a_user, min_size=20, max_size=20))))
    amounts = Amounts(CODES, proposals, added)
    found = StandIn(MODELS[name], ITEMCF, settings).items(USERS, SEEN, amounts)
    assert (counted(found, CODES) <= added).all()
    rows, items, values = proposed(likelihoods(MODELS[name], USERS, SEEN), proposals, CODES)
    agreement = ITEMCF.affinities(SEEN, rows, items)
    blend = settings.model_copy(update={"yes_no": 0.0, "threshold": 0.0, "tail_share": 0.0})
    if settings.likelihood + settings.agreement == 0:
        blend = blend.model_copy(update={"likelihood": 1.0})
    told = [
        [
            {"item": int(item), "likelihood": float(near), "agreement": float(score), "outcome": None}
            for item, near, score in zip(
                items[rows == user], values[rows == user], agreement[rows == user], strict=True
            )
        ]
        for user in USERS
    ]
    confidences = judge(answers([{"proposals": own} for own in told]), blend, RARE)["proposals"].to_pylist()
    for user in USERS:
        own = {one["item"]: one["confidence"] for one in confidences[user]}
        for code, count in enumerate(added[user]):
            of_slice = [item for item in own if CODES[item] == code]
            kept = [item for item in row(found, user) if CODES[item] == code]
            assert set(kept) <= set(of_slice) and len(kept) == min(count, len(of_slice))
            left = [own[item] for item in of_slice if item not in kept]
            assert not kept or not left or min(own[item] for item in kept) >= max(left) - 1e-6


def test_nothing_known_is_added_and_users_do_not_depend_on_each_other():
    model, wanted = StandIn(MODELS["sasrec"], ITEMCF, Judge()), np.full((20, len(SLICES)), 2)
    found = model.items(USERS, SEEN, Amounts(CODES, wanted, wanted))
    assert len(found.items) and not found.pairs_in(SEEN).any()
    some = np.array([7, 3])
    part = model.items(some, SEEN.take(some), Amounts(CODES, wanted[some], wanted[some]))
    assert [row(part, place) for place in (0, 1)] == [row(found, user) for user in some]


@given(settings=judges, lengths=st.lists(st.integers(0, 9), min_size=20, max_size=20))
def test_a_list_is_made_as_the_llms_is(settings, lengths):
    """The likeliest items, given as answers of an LLM, come out of `rankings` in the same order."""
    lengths = np.array(lengths)
    found, scores = StandIn(MODELS["bpr"], ITEMCF, settings).lists(USERS, SEEN, lengths, CODES)
    likelihood, told = likelihoods(MODELS["bpr"], USERS, SEEN), []
    for user in USERS:
        items = np.argsort(-likelihood[user], kind="stable")[: lengths[user]].astype(np.int32)
        items = items[likelihood[user, items] > 0]
        agreement = ITEMCF.affinities(SEEN.take(np.array([user])), np.zeros(len(items), int), items)
        told.append(
            [
                {
                    "item": int(item),
                    "likelihood": float(likelihood[user, item]),
                    "agreement": float(score),
                    "outcome": ACCEPTED,
                }
                for item, score in zip(items, agreement, strict=True)
            ]
        )
    table = answers([{"user": int(user), "proposals": own} for user, own in zip(USERS, told, strict=True)])
    expected = {one["user"]: one for one in rankings(table, settings, RARE).to_pylist()}
    for user in USERS:
        own = expected.get(user, {"items": [], "scores": []})
        assert row(found, user) == own["items"]
        assert scores[found.indptr[user] : found.indptr[user + 1]].tolist() == pytest.approx(own["scores"])
