"""The sentences never say more than the intervals do."""

import pytest

from longtail.registry import recommenders
from longtail.report.summary import chance, change, compare, evidence, headline, signed, title


def rows(recommender, values, name="all", base="itemcf", targets=100):
    """values: {variant: (value, difference from the best rival, adjusted p)}; observed is 0.1."""
    shared = {"recommender": recommender, "slice": name, "metric": "recall", "k": 10, "n": 90}
    shared |= {"targets": targets, "lift": None, "pairs": None, "over_best": None, "p_adjusted": None}
    yield shared | {"variant": "observed", "value": 0.1, "ci_low": None, "ci_high": None}
    for variant, (value, over, p) in values.items():
        found = {"value": value, "lift": value / 0.1 - 1, "pairs": 3, "p_adjusted": p}
        found |= {"ci_low": value - 0.2, "ci_high": value}
        if over is not None:
            found["over_best"] = {
                "base": base,
                "value": over,
                "ci_low": over - 0.01,
                "ci_high": over + 0.01,
                "p": p,
            }
        yield shared | {"variant": variant} | found


UP, OPEN, DOWN = (0.12, 0.02, 0.01), (0.101, 0.001, 0.4), (0.09, -0.02, 0.01)
CONTROL, HIGH = (0.09, None, None), (0.125, None, None)


def speak(*found):
    return headline(compare([row for some in found for row in some], "recall", 10), "Recall@10")


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        ([UP], "surely raised {} for 1 of 1 recommender."),
        ([UP, UP, OPEN], "surely raised {} for 2 of 3 recommenders."),
        ([UP, DOWN, OPEN], "surely raised {} for 1 of 3 recommenders, and had less for 1."),
        ([DOWN, DOWN], "did not surely raise {} for any of 2 recommenders, and had less for 2."),
        ([OPEN, OPEN], "did not surely raise {} for any of 2 recommenders."),
    ],
)
def test_headline(effects, said):
    names = ["swing", "itemcf", "bpr"]
    found = [rows(name, {"discriminated": effect}) for name, effect in zip(names, effects, strict=False)]
    said = said.format("Recall@10 above the best of observed and controls")
    assert speak(*found) == f"Interactions written by an LLM {said}"


@pytest.mark.parametrize("p", [0.05, 0.9, None])
def test_nothing_is_sure_that_the_corrected_test_does_not_carry(p):
    """However far the difference and its own interval are from 0."""
    assert "did not surely raise" in speak(rows("swing", {"discriminated": (0.9, 0.8, p)}))


def test_a_slice_of_few_targets_has_no_headline_and_no_evidence():
    large, small = rows("swing", {"discriminated": UP}), {"discriminated": DOWN}
    said = speak(large, rows("swing", small, "items:tail", targets=99))
    assert "tail" not in said and said.startswith("Interactions written by an LLM surely raised")
    assert speak(rows("swing", small, targets=99)) == (
        "The test has 99 targets: too few to say what the LLM does to Recall@10."
    )
    assert evidence(compare(rows("swing", small, targets=99), "recall", 10), {}) == []


def test_headline_is_about_the_judged_also_where_the_generated_did_better():
    assert "did not surely raise" in speak(rows("swing", {"generated": UP, "discriminated": DOWN}))


def test_headline_names_the_long_tail_and_admits_to_nothing():
    said = speak(rows("swing", {"generated": OPEN}), rows("swing", {"generated": DOWN}, "items:tail"))
    assert said.endswith(
        "On long-tail items they did not surely raise it above the best of observed and controls for any of 1, and had"
        " less for 1."
    )
    assert speak(rows("swing", {"random": CONTROL})).startswith("No LLM variant was evaluated")


def test_evidence_says_which_control_wins_and_whether_the_judge_helps():
    values = {"discriminated": UP, "generated": (0.13, 0.03, 0.2), "itemcf": HIGH, "random": CONTROL}
    found = compare(
        [*rows("swing", values), *rows("bpr", {"discriminated": UP, "popular": CONTROL})], "recall", 10
    )
    said = evidence(found, {"generated": {"value": 0.5}, "discriminated": {"value": 0.6}})
    deed = "a control without an LLM has a higher value than judged"
    assert f"On all users {deed} for 1 of 2: Swing (itemcf)." in said
    choice = "What the judge chose has a higher value than the generator's own choice"
    assert f"{choice} for 0 of 1." in said
    shares = "Share of the added interactions that the user truly likes: generated 50 %, judged 60 %."
    assert shares in said
    assert not any("discriminated" in line for line in said), "no discriminator need have seen it"


def test_the_largest_sure_change_is_told_beside_its_rival_and_the_number_of_comparisons():
    small, large = (0.15, 0.02, 0.01), (0.12, 0.03, 0.04)
    found = [*rows("swing", {"discriminated": small}), *rows("bpr", {"generated": large, "served": OPEN})]
    said = evidence(compare(found, "recall", 10), {})
    assert said[0] == (
        "Of 3 comparisons with the best of observed and controls 2 are surely higher after correction for their number."
        " The largest: BPR, generated, on all users, 0.0900 (itemcf) to 0.1200 (difference +0.0200 to +0.0400, p = 0.040"
        " after correction)."
    )


def test_evidence_says_so_where_nothing_is_sure():
    said = evidence(compare(rows("swing", {"discriminated": OPEN, "served": DOWN}), "recall", 10), {})
    assert said[0].startswith("None of 2 comparisons") and "every lift here may be chance" in said[0]


def test_evidence_says_what_right_guesses_are_worth():
    fewer, more = (0.09, None, None), (0.11, None, None)
    found = [
        *rows("itemcf", {"discriminated": UP, "without_hits": fewer}),
        *rows("swing", {"discriminated": DOWN, "without_hits": more}),
        *rows("bpr", {"discriminated": UP}),
    ]
    assert (
        "Without the proposals that equal a held-out item (to remove them uses the answer key) the value of judged on"
        " all users is 0.0900 instead of 0.1200 for ItemCF (−0.0300), 0.1100 instead of 0.0900 for Swing (+0.0200)."
        in evidence(compare(found, "recall", 10), {})
    )


def test_serving_is_told_beside_the_log():
    values = {"discriminated": OPEN, "served": UP, "served_itemcf": HIGH, "itemcf": CONTROL, "list": HIGH}
    found = [*rows("swing", values), *rows("bpr", values | {"served": DOWN})]
    said = evidence(compare(found, "recall", 10), {})
    fused = "Fused at serving with the recommender of the observed log, the LLM's list"
    above = "above the best of observed and controls"
    assert f"{fused} surely raised it {above} for 1 of 2 recommenders, and had less for 1." in said
    assert not any("served itemcf" in line for line in said if "has a higher value" in line), (
        "the log is not held against a list at serving"
    )


def test_a_variant_is_held_against_its_own_control_or_none_and_it_is_said():
    controls = {"itemcf": HIGH, "cold_pairs_shuffled": HIGH}
    lists = {"id_list": UP, "pairs": UP, **controls}
    said = evidence(compare(rows("bpr", lists), "recall", 10), {})
    assert not any("has a higher value" in line for line in said), "other controls are no rivals"
    lacking = "Not compared with its own control"
    assert f"{lacking} (id_list_itemcf), which was not evaluated: id lists of BPR." in said
    assert f"{lacking} (pairs_shuffled), which was not evaluated: pairs of BPR." in said
    said = evidence(
        compare(rows("bpr", lists | {"id_list_itemcf": CONTROL, "pairs_shuffled": CONTROL}), "recall", 10), {}
    )
    assert not any(lacking in line for line in said)
    assert "On all users no control has a higher value than id lists for any of 1 recommenders." in said


def test_who_is_not_evaluated_with_a_ranked_list_is_said():
    found = [
        *rows("itemcf", {"served_ranking": UP, "served_own": CONTROL}),
        *rows("bpr", {}),
        *rows("swing", {}),
    ]
    found += [*rows("bpr", {"popular": CONTROL}), *rows("swing", {"popular": CONTROL})]
    said = evidence(compare(found, "recall", 10), {})
    assert (
        "Only the items of ItemCF were re-ranked: the other 2 recommenders are not evaluated with that list."
        in said
    )


def test_where_nothing_was_written_into_a_log_the_list_is_the_headline():
    said = speak(rows("swing", {"served": UP}), rows("swing", {"served": DOWN}, "items:tail"))
    assert said.startswith("Fused at serving, the LLM's list surely raised Recall@10 above")
    assert "On long-tail items it did not surely raise it" in said


@pytest.mark.parametrize(
    ("lift", "difference", "text"),
    [(0.2, 0.02, "+20 %"), (None, 0.0123, "+0.0123"), (None, -0.001, "−0.0010"), (-0.004, 0.1, "0 %")],
)
def test_a_change_is_in_per_cent_only_where_there_is_a_lift(lift, difference, text):
    assert change(lift, difference) == text


@pytest.mark.parametrize(
    ("number", "form", "text"),
    [
        (0.123, ".1f", "+0.1"),
        (-0.5, ".0f", "0"),
        (-1.5, ".1f", "−1.5"),
        (0.0, ".3g", "0"),
        (-0.04, ".1f", "0.0"),
    ],
)
def test_signed_numbers(number, form, text):
    assert signed(number, form) == text


def test_every_recommender_has_a_name():
    titles = [title(name) for name in recommenders()]
    assert all(titles) and len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    ("p", "text"), [(None, ""), (0.0312, ", p = 0.031"), (1e-9, ", p < 0.001"), (1.0, ", p = 1.000")]
)
def test_chance_stands_behind_an_interval(p, text):
    assert chance(p) == text
