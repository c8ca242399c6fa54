"""Half-whitening: parts add up to the whole, and every direction ends with the square root of its spread."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from longtail.text.whitening import Moments, half_whitening


def drawn(n: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, width)) @ rng.standard_normal((width, width)) + rng.random(width)).astype(
        np.float32
    )


@given(cuts=st.lists(st.integers(0, 40), max_size=4), seed=st.integers(0, 9))
def test_moments_of_parts_are_those_of_all(cuts: list[int], seed: int) -> None:
    vectors = drawn(40, 5, seed)
    whole, parts = Moments.of(vectors), Moments.together(map(Moments.of, np.split(vectors, sorted(cuts))))
    assert parts.n == whole.n == 40
    np.testing.assert_allclose(parts.total, whole.total)
    np.testing.assert_allclose(parts.products, whole.products)


def test_each_direction_keeps_the_root_of_its_spread() -> None:
    vectors = drawn(500, 6)
    mean, matrix = half_whitening(Moments.of(vectors))
    found = (vectors - mean) @ matrix
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)
    covariance = np.cov(found.T, bias=True)
    spread = np.linalg.eigvalsh(np.cov(vectors.T.astype(float), bias=True))[::-1]
    np.testing.assert_allclose(np.diag(covariance), spread**0.5, rtol=1e-4)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-4 * spread[0]


def test_directions_without_spread_are_left_out() -> None:
    vectors = drawn(100, 3)
    flat = np.concatenate([vectors, vectors[:, :1] * 2, np.ones((100, 1), np.float32)], axis=1)
    assert half_whitening(Moments.of(flat))[1].shape == (5, 3)


def test_equal_texts_leave_nothing() -> None:
    assert half_whitening(Moments.of(np.ones((4, 3), np.float32)))[1].shape[1] == 0
