"""The verdict says what small figures carry: validation names, the test confirms or rejects, at most four sentences."""

import re

import pytest

from longtail.report.glossary import GLOSSARY, words_in
from longtail.report.verdict import Verdict, fit_words, verdict
from longtail.variants import VARIANTS, label

SURE, LESS = 0.01, -0.02
PRICES = {"currency": "USD", "hour": 0.4, "models": {}}
SPENT = {
    "seconds": 4500.0,
    "parts": {"tuning the LLM": 600.0, "asking the LLM": 240.0},
    "money": 0.5,
    "asked": None,
}


def row(fit, part, value, over=None, sure=True, base="itemcf", targets=500):
    """over: the difference from the best rival, ± 0.005; sure: whether the correction leaves its p below .05."""
    recommender, variant = fit
    own = {"recommender": recommender, "variant": variant, "slice": part, "metric": "recall", "k": 10}
    own |= {"n": 450, "targets": targets, "value": value, "lift": None, "ci_low": None, "ci_high": None}
    own |= {"pairs": None, "over_best": None, "p_adjusted": None}
    if variant == "observed":
        return own
    own |= {"ci_low": -0.1, "ci_high": 0.1, "pairs": 3}
    if over is not None:
        best = {"base": base, "value": over, "ci_low": over - 0.005, "ci_high": over + 0.005, "p": 0.01}
        own |= {"over_best": best, "p_adjusted": 0.01 if sure and over > 0 else 0.4}
    return own


def metrics(ndcg, rows, lost=None, **changes):
    """ndcg: from (recommender, variant) to the validation figure, None without validation items."""
    figures = [
        {
            "recommender": recommender,
            "variant": variant,
            "trained_on": VARIANTS[variant].fitted_on or variant,
            "users": 0 if value is None else 400,
            "ndcg": value,
            "lost": (lost or {}).get((recommender, variant), {}),
        }
        for (recommender, variant), value in ndcg.items()
    ]
    return {
        "recipe": {"evaluation": {"ks": [5, 10]}, "prices": PRICES},
        "choice": {"figures": figures, "served": None, "slices": ["tail", "sparse"]},
        "rows": rows,
        "spent": SPENT,
    } | changes


PLAIN, JUDGED, CONTROL = ("swing", "observed"), ("swing", "discriminated"), ("swing", "itemcf")
NDCG = {PLAIN: 0.05, JUDGED: 0.06, CONTROL: 0.055}


def store(everybody=SURE, tail=SURE, sure=(True, True), targets=(500, 500), ndcg=NDCG, more=(), **changes):
    """Swing on the observed log, on the judged one and on its control."""
    rows = []
    for part, over, is_sure, many in zip(
        ("all", "items:tail"), (everybody, tail), sure, targets, strict=True
    ):
        rows += [row(PLAIN, part, 0.09, targets=many), row(CONTROL, part, 0.1, targets=many)]
        rows += [row(JUDGED, part, 0.1 + over, over, is_sure, targets=many)]
    return metrics(ndcg, [*rows, *more], **changes)


def test_a_win_is_served_with_its_interval_and_its_place_after_the_correction():
    said = verdict(store())
    assert said.serve == {
        "recommender": "swing", "variant": "discriminated", "trained_on": "discriminated", "list": "none",
    }  # fmt: skip
    opening, gain, cost = said.sentences
    assert opening == (
        "Serve Swing trained on judged: of 3 fits it is first on validation (NDCG@10 0.0600); the first without an LLM"
        " is Swing trained on itemcf, 0.0550."
    )
    over = (
        "+0.0100 over its best rival, itemcf (+10 %, 95 % interval +0.0050 to +0.0150, sure when corrected)"
    )
    assert gain == (
        f"On the test Swing trained on judged has Recall@10 0.1100 for all users, {over}, and 0.1100 for the long tail,"
        f" {over}."
    )
    assert cost == (
        "The run took 1 h 15 min of computing, of which 10 min 00 s for tuning the LLM and 4 min 00 s for asking the LLM,"
        " about 0.50 USD at 0.4 USD an hour."
    )


@pytest.mark.parametrize("everybody", [LESS, -0.001, 0.001])
def test_a_loss_and_a_draw_serve_the_plain_recommender_that_validation_names(everybody):
    said = verdict(store(everybody, tail=0.001, sure=(False, False)))
    assert said.serve["variant"] == "observed" and said.shown == JUDGED
    opening, gain, _, others = said.sentences
    assert opening.startswith(
        "Serve the plain recommender, Swing trained on observed: nothing made with the LLM is shown"
    )
    assert "first on validation (NDCG@10 0.0600; Swing trained on itemcf, a control, has 0.0550)" in opening
    assert "the test does not confirm it" in opening and "not sure when corrected" in gain
    assert (
        "none of 1 fit with the LLM is surely above" in others
        and "on the long tail none of 1 is surely above." in others
    )
    assert ("are below it" in others or "is below it" in others) == (everybody < 0)


def test_the_test_never_chooses_between_two_that_validation_orders():
    """Swing is far better on the test, and validation puts BPR first: BPR it is."""
    bpr = [("bpr", "observed"), ("bpr", "discriminated")]
    more = [row(bpr[0], "all", 0.01), row(bpr[1], "all", 0.02, 0.01)]
    said = verdict(store(everybody=0.5, ndcg=NDCG | {bpr[0]: 0.07, bpr[1]: 0.08}, more=more))
    assert (said.serve["recommender"], said.serve["variant"]) == bpr[1]
    said = verdict(store(everybody=0.5, ndcg=NDCG | {bpr[0]: 0.07}, more=more[:1]))
    assert (said.serve["recommender"], said.serve["variant"]) == bpr[0]
    assert (
        "not with the LLM, because Swing trained on judged, the first fit with it on validation"
        in said.sentences[0]
    )


def test_a_control_that_is_first_on_validation_refuses_the_llm():
    said = verdict(store(ndcg=NDCG | {CONTROL: 0.06}))
    assert said.serve["variant"] == "observed"
    assert "Swing trained on itemcf, a control, has 0.0600" in said.sentences[0]


def test_what_loses_the_tail_on_validation_is_not_advised():
    """Also if it is first there and the test would confirm it."""
    said = verdict(store(lost={JUDGED: {"tail": -0.0123}}))
    assert said.serve["variant"] == "observed"
    assert said.sentences[0].endswith(
        "not with the LLM, because every fit with it loses the long tail or sparse users on validation, Swing trained on"
        " judged 0.0123 NDCG@10 on the long tail."
    )
    bpr = [("bpr", "observed"), ("bpr", "discriminated")]
    more = [row(bpr[0], "all", 0.01), row(bpr[1], "all", 0.02, 0.01)]
    found = store(lost={JUDGED: {"tail": -0.0123}}, ndcg=NDCG | {bpr[1]: 0.058}, more=more)
    said = verdict(found)
    assert (said.serve["recommender"], said.serve["variant"]) == bpr[1]
    assert (
        "(NDCG@10 0.0580; 1 without a figure there were left out; 1 that loses the long tail"
        in said.sentences[0]
    )


def test_without_an_llm_the_best_on_validation_is_served():
    rows = [row(("bpr", "observed"), "all", 0.2), row(PLAIN, "all", 0.1), row(PLAIN, "items:tail", 0.03)]
    said = verdict(metrics({PLAIN: 0.05, ("bpr", "observed"): 0.04}, rows))
    assert said.sentences[:2] == (
        "Serve Swing trained on observed: of 2 fits it is first on validation (NDCG@10 0.0500); no LLM was asked.",
        "On the test it has Recall@10 0.1000 for all users and 0.0300 for the long tail.",
    )
    assert said.shown is None and len(said.sentences) == 3
    few = [one | {"targets": 99} for one in rows]
    said = verdict(metrics({PLAIN: 0.05}, few)).sentences[1]
    assert said == "The test has 99 targets, which is too few to speak of Recall@10."
    assert "the only fit" in verdict(metrics({PLAIN: 0.05}, few[1:])).sentences[0]


def test_without_a_control_it_says_that_an_llm_may_not_be_needed():
    rows = [one for one in store()["rows"] if one["variant"] != "itemcf"]
    rows = [
        one | ({"over_best": one["over_best"] | {"base": "observed"}} if one["over_best"] else {})
        for one in rows
    ]
    said = verdict(metrics({PLAIN: 0.05, JUDGED: 0.06}, rows))
    assert said.sentences[1].endswith("; no control was evaluated, so an LLM may not be needed for it.")
    assert "over its best rival, observed" in said.sentences[1]


def test_a_tail_that_is_lost_is_called_a_loss():
    said = verdict(store(tail=LESS))
    assert said.serve["variant"] == "discriminated"
    assert "; on the long tail it loses: 0.0800, −0.0200 against its best rival" in said.sentences[1]
    assert "loses" not in verdict(store(tail=-0.001)).sentences[1], "its interval holds 0"


def test_a_gain_on_the_tail_alone_counts_unless_all_users_lose():
    assert verdict(store(everybody=0.0, sure=(False, True))).serve["variant"] == "discriminated"
    assert verdict(store(everybody=LESS, sure=(False, True))).serve["variant"] == "observed"


def test_what_the_correction_undoes_is_not_served():
    """The interval lies above 0, the corrected p does not lie below .05."""
    said = verdict(store(sure=(False, False)))
    assert said.serve["variant"] == "observed" and "not sure when corrected" in said.sentences[1]


def test_few_targets_claim_nothing():
    said = verdict(store(targets=(99, 99)))
    assert said.serve["variant"] == "observed"
    assert (
        said.sentences[1]
        == "The test has 99 targets, which is too few to say what the LLM does to Recall@10."
    )
    said = verdict(store(targets=(500, 99)))
    assert said.sentences[1].endswith("; the long tail has 99 targets, too few to speak of it.")
    assert said.sentences[1].count("interval") == 1


def test_no_lift_in_per_cent_over_a_low_base():
    low = [one | {"value": 0.0142} for one in store()["rows"]]
    assert "(95 % interval" in verdict(metrics(NDCG, low)).sentences[1]
    high = [one | {"value": 0.0160} for one in store()["rows"]]
    assert "(+167 %, 95 % interval" in verdict(metrics(NDCG, high)).sentences[1]


def test_without_validation_nothing_is_advised():
    found = store(ndcg=dict.fromkeys(NDCG))
    found["choice"]["served"] = found["choice"]["figures"][1]
    said = verdict(found)
    assert said.serve is said.shown is None
    assert said.sentences[:2] == (
        "No user has a validation item, and the test must not choose, so nothing is advised.",
        "The recipe names Swing trained on judged.",
    )
    assert verdict(metrics({}, [])).sentences[0] == "No recommender was evaluated, so nothing is advised."


def test_what_has_no_figure_on_validation_is_left_out_and_counted():
    more = [row(("swing", "generated"), "all", 0.9, 0.5), row(("swing", "without_hits"), "all", 0.9)]
    assert "NDCG@10 0.0600; 1 without a figure there were left out" in verdict(store(more=more)).sentences[0]


def test_what_did_not_help_is_counted_and_the_worst_is_named():
    more = [row(("bpr", "observed"), "all", 0.1), row(("bpr", "served"), "all", 0.07, -0.03, base="observed")]
    more += [row(("bpr", "generated"), "all", 0.12, SURE)]
    assert verdict(store(more=more)).sentences[3] == (
        "What did not help: of 2 other fits with the LLM 1 is not surely above its best rival on all users, and 1 is below"
        " it, the furthest BPR trained on observed, fused with the LLM's list (−0.0300); on the long tail 1 of 1 is"
        " surely above."
    )
    assert verdict(store(more=[more[0], more[2]])).sentences[3] == (
        "Of 1 other fit with the LLM every one is surely above its best rival on all users."
    )


def test_the_price_is_told_if_there_is_one():
    free = store() | {"recipe": {"evaluation": {"ks": [10]}, "prices": PRICES | {"hour": 0.0}}}
    assert "USD" not in " ".join(verdict(free).sentences)
    whole = store() | {"spent": SPENT | {"money": 0.8, "asked": 0.3}}
    wanted = "about 0.50 USD at 0.4 USD an hour and about 0.30 USD for the LLM's answers."
    assert verdict(whole).sentences[2].endswith(wanted), "money holds both, and no part is told twice"
    asked = store() | {"spent": SPENT | {"asked": 0.004}}
    assert "at 0.4 USD an hour and less than 0.01 USD for the LLM's answers." in verdict(asked).sentences[2]


CASES = {
    "win": store(),
    "loss": store(LESS, LESS),
    "draw": store(0.0, 0.0),
    "tail lost": store(tail=LESS),
    "correction undone": store(sure=(False, False)),
    "tail lost on validation": store(lost={JUDGED: {"tail": -0.01}}),
    "few": store(targets=(99, 99)),
    "beaten": store(ndcg=NDCG | {CONTROL: 0.07}),
    "no LLM": metrics({PLAIN: 0.05}, [row(PLAIN, "all", 0.1)]),
    "no validation": store(ndcg=dict.fromkeys(NDCG)),
    "nothing": metrics({}, []),
} | {
    variant: store(
        ndcg=NDCG | {("bpr", variant): 0.09}, more=[
            row(("bpr", "observed"), "all", 0.1),
            row(("bpr", variant), "all", 0.1, 0.01, base="served_itemcf"),
        ]
    )
    for variant, one in VARIANTS.items()
    if one.by_llm and not one.hits_removed
}  # fmt: skip
TERMS = {
    "Recall",
    "NDCG",
    "interval",
    "sure",
    "corrected",
    "rival",
    "tail",
    "validation",
    "plain",
    "fused",
    "control",
}
"""Words that nobody outside of the field knows. Where one stands, a word of the glossary has to cover it."""


@pytest.mark.parametrize("case", CASES)
def test_every_verdict_is_short_modest_and_in_words_of_the_glossary(case):
    said: Verdict = verdict(CASES[case])
    assert 1 <= len(said.sentences) <= 4
    whole = " ".join(said.sentences)
    for sentence in said.sentences:
        assert sentence.endswith(".") and not re.search(r"\.\s+[A-Z]", sentence), "one sentence each"
    assert not re.search(r"\b(prove[sn]?|certain|certainly|always|never|guarantee\w*)\b", whole)
    known = words_in(said.sentences)
    for term in TERMS:
        if re.search(rf"\b{term}\b", whole):
            assert any(term in word for word in known), term
    for name in VARIANTS:
        if re.search(rf"(trained on|rival,|Swing,|BPR,) {re.escape(label(name))}(?=[ ,.;])", whole):
            assert any(label(name) in word for word in known)


def test_words_of_the_glossary_are_one_line_and_stand_alone():
    for word, meaning in GLOSSARY.items():
        assert len(meaning) <= 110 and "\n" not in meaning and not meaning.endswith("."), word
    assert {label(name) for name in VARIANTS} <= set(GLOSSARY)
    assert "served itemcf" in words_in(["over served itemcf"]) and "itemcf" not in words_in(
        ["over served itemcf"]
    )
    assert "itemcf" in words_in(["over itemcf and served itemcf"])
    assert words_in(["unsure"]) == {}


def test_a_fit_is_named_by_what_it_learned_from():
    assert (
        fit_words(("swing", "served_discriminated")) == "Swing trained on judged, fused with the LLM's list"
    )
    assert fit_words(("swing", "served_itemcf")) == "Swing, served itemcf"
