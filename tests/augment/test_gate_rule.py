"""The rule of the gate: the figures are those of loops over the pairs, and only an LLM that knows more passes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.model_selection import GroupKFold

from longtail.augment.gate_rule import FOLDS, LEAST, SURE, Verdict, blended, verdict

SCORE = st.sampled_from([-2.0, -0.5, 0.0, 0.5, 3.0])
PAIRS = st.lists(st.tuples(st.integers(0, 5), SCORE, SCORE), min_size=1, max_size=30)


def pairs_of(seed: int, n: int = 400, llm: float = 0.0, text: float = 0.5) -> tuple[np.ndarray, ...]:
    """Two noisy scores with a part of the truth each, independent of one another; two pairs for each user."""
    rng = np.random.default_rng(seed)
    return rng.normal(llm, 1, n), rng.normal(text, 1, n), np.arange(n) // 2


@given(pairs=PAIRS)
def test_accuracies_and_their_errors_are_those_of_a_loop(pairs):
    users, llm, text = (np.array(column) for column in zip(*pairs, strict=True))
    found, n = verdict(llm, text, users), len(pairs)

    def correct(score: float) -> float:
        return 1.0 if score > 0 else 0.5 if score == 0 else 0.0

    of_llm, of_text = ([correct(one) for one in scores] for scores in (llm, text))
    difference = sum(of_llm) / n - sum(of_text) / n
    by_user: dict[int, float] = {}
    for user, one, other in zip(users.tolist(), of_llm, of_text, strict=True):
        by_user[user] = by_user.get(user, 0.0) + one - other - difference
    assert found.llm == pytest.approx(sum(of_llm) / n) and found.text == pytest.approx(sum(of_text) / n)
    assert found.over_text == pytest.approx(difference)
    error = sum(own**2 for own in by_user.values()) ** 0.5 / n
    assert found.over_text_error == pytest.approx(error, abs=1e-12)
    assert found.answered == pytest.approx(sum(one != 0 for one in llm) / n)
    assert (found.pairs, found.users) == (n, len(by_user)) and not found.passed, "too few"


@pytest.mark.parametrize("seed", range(3))
def test_the_blend_is_a_logistic_regression_on_the_pairs_of_others(seed):
    """Each fold's weights by a general minimiser of the same loss."""
    llm, text, users = pairs_of(seed, llm=0.4)
    features = np.column_stack([text, llm])
    found = blended(features, users)
    folds: list[np.ndarray] = []
    split = GroupKFold(FOLDS).split(np.vstack([features, -features]), groups=np.tile(users, 2))
    for _, held_out in split:
        own = held_out[held_out < len(features)]
        others = np.setdiff1d(np.arange(len(features)), own)
        assert not set(users[own]) & set(users[others])
        expected = features[own] @ fitted(features[others])
        np.testing.assert_allclose(found[own], expected, rtol=2e-3, atol=2e-3)
        folds.append(own)
    assert sorted(np.concatenate(folds).tolist()) == list(range(len(features)))


def fitted(features: np.ndarray) -> np.ndarray:
    """The weights of the unscaled features that minimise the log-loss of both directions and half of the squared weights
    of the scaled ones.
    """
    scale = np.sqrt((features**2).mean(axis=0))

    def loss(weights: np.ndarray) -> float:
        return 2 * np.logaddexp(0, -(features / scale) @ weights).sum() + weights @ weights / 2

    return minimize(loss, np.zeros(features.shape[1]), tol=1e-10).x / scale


@settings(max_examples=25)
@given(seed=st.integers(0, 99))
def test_a_pair_has_no_first_item(seed):
    """The fit knows each pair in both directions, so the blend of a pair the other way round has the other sign."""
    llm, text, users = pairs_of(seed, n=120, llm=0.3)
    features = np.column_stack([text, llm])
    found, other = blended(features, users), blended(features * -1, users)
    np.testing.assert_allclose(other, found, rtol=1e-3, atol=1e-6)


def test_what_is_better_than_texts_passes_and_so_does_what_adds_to_them():
    better = verdict(*pairs_of(0, n=2000, llm=1.0, text=0.2))
    assert better.passed and better.over_text > 0.2
    adding = verdict(*pairs_of(1, n=2000, llm=0.6, text=0.7))
    assert adding.passed and adding.over_text < 0 < adding.adds
    assert adding.adds > SURE * adding.adds_error


def test_what_knows_nothing_or_the_same_does_not_pass():
    assert np.mean([verdict(*pairs_of(seed, n=1000)).passed for seed in range(40)]) <= 0.1
    llm, text, users = pairs_of(3, n=2000)
    echo = verdict(text, text, users)
    assert not echo.passed and echo.over_text == echo.over_text_error == 0
    silent = verdict(np.zeros(2000), text, users)
    assert not silent.passed and (silent.answered, silent.llm) == (0, 0.5)


def test_texts_that_say_nothing_are_a_coin():
    """A catalogue without words: whoever beats the coin passes."""
    llm, _, users = pairs_of(4, n=2000, llm=0.5)
    found = verdict(llm, np.zeros(2000), users)
    assert found.text == 0.5 and found.passed and found.adds == pytest.approx(found.over_text)


@pytest.mark.parametrize(("n", "passed"), [(0, False), (LEAST - 1, False), (LEAST, True)])
def test_few_pairs_measure_nothing(n, passed):
    found = verdict(np.ones(n), -np.ones(n), np.arange(n))
    assert isinstance(found, Verdict) and found.passed == passed and found.pairs == n


def test_one_user_alone_can_not_be_cross_validated():
    found = verdict(np.ones(200), np.ones(200), np.zeros(200, int))
    assert found.users == 1 and not found.passed
