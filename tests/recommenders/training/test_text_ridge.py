"""The error that chooses the strength of a ridge map is that of as many fits, each without one item."""

import numpy as np
import pytest

from longtail.recommenders.training.text_ridge import STRENGTHS, TextRidge


def fit(texts: np.ndarray, vectors: np.ndarray, strength: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The map as the normal equations have it, and the two means."""
    centre, mean = texts.mean(axis=0), vectors.mean(axis=0)
    along = texts - centre
    square = along.T @ along + strength * np.eye(texts.shape[1])
    return np.linalg.solve(square, along.T @ (vectors - mean)), centre, mean


def absolute(texts: np.ndarray, strength: float) -> float:
    return strength * float((np.linalg.svd(texts - texts.mean(axis=0), compute_uv=False) ** 2).mean())


@pytest.mark.parametrize(("n", "width", "noise"), [(30, 4, 0.1), (12, 4, 3.0), (9, 7, 1.0)])
def test_it_is_the_best_of_all_fits_without_one_item(n: int, width: int, noise: float) -> None:
    rng = np.random.default_rng(n)
    texts = rng.standard_normal((n, width)) * np.arange(1, width + 1) + 2
    vectors = texts @ rng.standard_normal((width, 3)) + noise * rng.standard_normal((n, 3)) + 5
    errors = []
    for strength in STRENGTHS:
        missed = 0.0
        for item in range(n):
            others = np.arange(n) != item
            found, centre, mean = fit(texts[others], vectors[others], absolute(texts, strength))
            missed += float(np.square(vectors[item] - mean - (texts[item] - centre) @ found).sum())
        errors.append(missed / float(np.square(vectors - vectors.mean(axis=0)).sum()))
    ridge = TextRidge.of(texts, vectors)
    assert ridge.strength == STRENGTHS[int(np.argmin(errors))]
    assert ridge.error == pytest.approx(min(errors), rel=1e-6)
    found, centre, mean = fit(texts, vectors, absolute(texts, ridge.strength))
    np.testing.assert_allclose(ridge(texts), mean + (texts - centre) @ found, rtol=1e-4, atol=1e-4)


def test_texts_that_say_nothing_give_the_mean() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((200, 3)) + 4
    ridge = TextRidge.of(rng.standard_normal((200, 5)), vectors)
    assert ridge.strength == STRENGTHS[-1] and ridge.error == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(
        ridge(rng.standard_normal((9, 5))), vectors.mean(axis=0)[None].repeat(9, 0), atol=0.1
    )


@pytest.mark.parametrize("n", [1, 2])
def test_equal_texts_are_no_fault(n: int) -> None:
    vectors = np.arange(3.0 * n).reshape(n, 3)
    np.testing.assert_allclose(
        TextRidge.of(np.ones((n, 4)), vectors)(np.ones((1, 4)))[0], vectors.mean(axis=0)
    )
