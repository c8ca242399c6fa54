"""The sentences never say more than the intervals do."""

import pytest

from longtail.registry import recommenders
from longtail.report.summary import chance, compare, evidence, headline, signed, title


def rows(recommender, values, name="all"):
    """values: {variant: (value, ci_low, ci_high)}; observed is 0.1."""
    shared = {"recommender": recommender, "slice": name, "metric": "recall", "k": 10, "n": 100}
    yield shared | {"variant": "observed", "value": 0.1, "lift": None, "ci_low": None, "ci_high": None}
    for variant, (value, low, high) in values.items():
        yield shared | {
            "variant": variant,
            "value": value,
            "lift": value / 0.1 - 1,
            "ci_low": low,
            "ci_high": high,
        }


UP, DOWN, OPEN = (0.12, 0.01, 0.03), (0.09, -0.02, -0.005), (0.101, -0.01, 0.012)


def speak(*found):
    return headline(compare([row for some in found for row in some], "recall", 10), "Recall@10")


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        ([UP], "raised Recall@10 for 1 of 1 recommender."),
        ([UP, UP, OPEN], "raised Recall@10 for 2 of 3 recommenders and left 1 undecided."),
        (
            [UP, DOWN, OPEN],
            "raised Recall@10 for 1 of 3 recommenders, lowered it for 1 and left 1 undecided.",
        ),
        ([DOWN, DOWN], "lowered Recall@10 for 2 of 2 recommenders."),
        ([OPEN, OPEN], "did not measurably change Recall@10 for any of 2 recommenders."),
    ],
)
def test_headline(effects, said):
    names = ["swing", "itemcf", "bpr"]
    found = [rows(name, {"discriminated": effect}) for name, effect in zip(names, effects, strict=False)]
    assert speak(*found) == f"Interactions written by an LLM {said}"


def test_headline_is_about_the_discriminated_also_where_the_generated_did_better():
    assert "lowered" in speak(rows("swing", {"generated": UP, "discriminated": DOWN}))


def test_headline_names_the_long_tail_and_admits_to_nothing():
    said = speak(rows("swing", {"generated": OPEN}), rows("swing", {"generated": DOWN}, "items:tail"))
    assert said.endswith("On long-tail items they lowered it for 1 of 1.")
    assert speak(rows("swing", {"random": UP})).startswith("No LLM variant was evaluated")


def test_evidence_says_which_control_wins_and_whether_the_discriminator_helps():
    values = {
        "discriminated": UP,
        "generated": (0.13, 0.02, 0.04),
        "itemcf": (0.125, 0.01, 0.03),
        "random": DOWN,
    }
    found = compare(
        [*rows("swing", values), *rows("bpr", {"discriminated": UP, "popular": DOWN})], "recall", 10
    )
    said = evidence(found, {"generated": {"value": 0.5}})
    deed = "a control without an LLM has a higher value than discriminated"
    assert f"On all users {deed} for 1 of 2: Swing (itemcf)." in said
    assert "The discriminator is better than the generator alone for 0 of 1." in said
    assert "Share of the added interactions that the user truly likes: generated 50 %." in said
    assert any(
        line.startswith(
            "Largest change whose interval excludes 0: Swing on all users, 0.1000 to 0.1200 (+20 %"
        )
        for line in said
    )


def test_evidence_says_so_where_nothing_is_proven():
    said = evidence(compare(rows("swing", {"discriminated": OPEN}), "recall", 10), {})
    assert any("every lift here is unproven" in line for line in said)


def test_serving_is_told_beside_the_log_and_beside_its_control():
    found = [
        *rows("swing", {"discriminated": OPEN, "served": UP, "served_itemcf": OPEN, "itemcf": OPEN}),
        *rows("bpr", {"discriminated": OPEN, "served": UP, "served_itemcf": UP, "itemcf": OPEN}),
    ]
    for row, (low, high) in zip(
        [row for row in found if row["variant"] == "served"], ((0.01, 0.02), (-0.02, 0.01)), strict=True
    ):
        row["over_control"] = {
            "base": "served_itemcf",
            "value": 0.005,
            "ci_low": low,
            "ci_high": high,
            "t": 1.0,
        }
    said = evidence(compare(found, "recall", 10), {})
    fused = "Fused at serving with the recommender of the observed log, the LLM's list"
    assert f"{fused} raised it for 2 of 2 recommenders." in said
    assert (
        "Compared with its control, served itemcf, served is higher for 1 of 2 and lower for 0, with intervals that"
        " exclude 0." in said
    )
    assert not any("served itemcf" in line for line in said if "has a higher value" in line), (
        "the log is not held against a list at serving"
    )


def test_a_variant_is_held_against_its_own_control_or_none_and_it_is_said():
    controls = {"itemcf": (0.2, 0.05, 0.15), "cold_pairs_shuffled": (0.2, 0.05, 0.15)}
    lists = {"id_list": UP, "pairs": UP, **controls}
    said = evidence(compare(rows("bpr", lists), "recall", 10), {})
    assert not any("has a higher value" in line for line in said), "other controls are no rivals"
    lacking = "Not compared with its own control"
    assert f"{lacking} (id_list_itemcf), which was not evaluated: id lists of BPR." in said
    assert f"{lacking} (pairs_shuffled), which was not evaluated: pairs of BPR." in said
    said = evidence(
        compare(rows("bpr", lists | {"id_list_itemcf": UP, "pairs_shuffled": UP}), "recall", 10), {}
    )
    assert not any(lacking in line for line in said)
    assert "On all users no control has a higher value than id lists for any of 1 recommenders." in said


def test_who_is_not_evaluated_with_a_ranked_list_is_said():
    found = [
        *rows("itemcf", {"served_ranking": UP, "served_own": OPEN}),
        *rows("bpr", {}),
        *rows("swing", {}),
    ]
    found += [*rows("bpr", {"popular": OPEN}), *rows("swing", {"popular": OPEN})]
    said = evidence(compare(found, "recall", 10), {})
    assert (
        "Only the items of ItemCF were re-ranked: the other 2 recommenders are not evaluated with that list."
        in said
    )


def test_where_nothing_was_written_into_a_log_the_list_is_the_headline():
    said = speak(rows("swing", {"served": UP}), rows("swing", {"served": DOWN}, "items:tail"))
    assert said.startswith("Fused at serving, the LLM's list raised Recall@10 for 1 of 1 recommender.")
    assert said.endswith("On long-tail items it lowered it for 1 of 1.")


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
