"""The sentences about labels are no surer than their intervals."""

import pytest

from longtail.report.augmentation_words import interval, label_sentences


def figure(value, low, high):
    return {"value": value, "ci_low": low, "ci_high": high, "n": 1200}


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
