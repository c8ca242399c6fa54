"""The sentences about labels are no surer than their intervals, and a control that lacks items is said to."""

import pytest

from longtail.report.augmentation_words import bias_sentences, gate_sentence, interval, label_sentences


def figure(value, low, high):
    return {"value": value, "ci_low": low, "ci_high": high, "n": 1200}


@pytest.mark.parametrize(("passed", "pairs"), [(False, 2000), (True, 300)])
def test_a_gate_says_what_became_of_the_preferences_and_of_how_many_pairs(passed, pairs):
    gate = {"passed": passed, "pairs": pairs, "llm": 0.693, "text": 0.76}
    gate |= {"over_text": -0.067, "over_text_error": 0.012, "adds": 0.004, "adds_error": 0.003}
    sentence = gate_sentence("cold_pairs", gate)
    assert ("are left out, so its variant is the log as it is" in sentence) != passed
    assert ("all that validation has" in sentence) == (
        pairs < 2000
    ) and f"{pairs:,} validation pairs" in sentence
    assert "69.3 %" in sentence and "76.0 %" in sentence
    assert "6.7 points (standard error 1.2)" in sentence and "+0.4 points (standard error 0.3)" in sentence


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.51, 0.6, ", more often than by chance."),
        (0.3, 0.49, ", less often than by chance."),
        (0.45, 0.55, ", not measurably different from chance."),
    ],
)
def test_a_preference_is_compared_with_chance(low, high, words):
    slices = {"all": {"preferred": figure((low + high) / 2, low, high)}, "users:sparse": {}}
    (sentence,) = label_sentences("cold_pairs", {"kind": "pair", "slices": slices})
    assert sentence.endswith(words) and "1,200 users" in sentence and "cold pairs" in sentence


@pytest.mark.parametrize(
    ("low", "high", "side"),
    [
        (0.01, 0.03, "higher than"),
        (-0.03, -0.01, "lower than"),
        (-0.01, 0.01, "not measurably different from"),
    ],
)
def test_a_ranking_separates_only_where_its_interval_does(low, high, side):
    slices = {
        "items:tail": {
            "held_out": figure(0.4, 0.3, 0.5),
            "others": figure(0.3, 0.2, 0.4),
            "difference": figure((low + high) / 2, low, high),
        }
    }
    (sentence,) = label_sentences("ranking", {"kind": "score", "slices": slices})
    assert f"that is {side} that of other items" in sentence and "long-tail items alone" in sentence


def test_an_interval_without_width_is_not_shown():
    assert interval(figure(0.0, 0.0, 0.0)) == "0.0 %"
    assert interval(figure(0.1, 0.05, 0.2)) == "10.0 % (5.0 % to 20.0 %)"


def test_a_control_that_lacks_items_is_named_with_their_number():
    part = {"interactions": 97, "popularity": 2.0, "shares": {"items:tail": 0.5, "users:sparse": 0.5}}
    llm = {"words": "discriminated", "control": False, "added": part, "observed": part, "short": {}}
    full, poor = (
        llm | {"words": words, "control": True, "short": {"head": 0, "tail": tail, "cold": tail // 2}}
        for words, tail in (("random", 0), ("itemcf", 2))
    )
    *_, last = bias_sentences([llm, full, poor])
    assert "itemcf has too few candidates for 3 of the 100 items" in last and "(tail 2, cold 1)" in last
    assert len(list(bias_sentences([llm, full]))) == 3
