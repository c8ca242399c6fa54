"""BM25's similarities are the dot products of the weighted matrix that the formula gives."""

import numpy as np

from longtail.recommenders.models.bm25 import BM25, K1, B
from longtail.recommenders.models.bm25 import BM25Section as Section
from tests.recommenders.conftest import clusters


def test_similarities_are_the_formula() -> None:
    """An item is a document of users: tf saturates by K1 and the item's length, a user who took much says less."""
    train = clusters()
    ratings = train.matrix.toarray().astype(np.float64).T  # items x users
    n_items = len(ratings)
    users_idf = np.log(n_items) - np.log1p((ratings > 0).sum(axis=0))
    lengths = ratings.sum(axis=1)
    norm = 1 - B + B * lengths / lengths.mean()
    weighted = ratings * (K1 + 1) / (K1 * norm[:, None] + ratings) * users_idf
    expected = weighted @ weighted.T
    np.fill_diagonal(expected, 0)
    found = BM25("bm25", Section(neighbours=24)).fit(train).similarity.toarray()
    np.testing.assert_allclose(found, np.where(expected > 0, expected, 0), rtol=1e-4, atol=1e-6)
