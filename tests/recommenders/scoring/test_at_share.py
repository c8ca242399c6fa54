"""Another share of places for cold items: nothing is fitted again, and the lists are those of a fit with that share."""

import numpy as np
import pytest

from longtail.recommenders import build, load
from longtail.recommenders.recommender import Recommender
from longtail.registry import recommender_spec
from longtail.workspace import Workspace
from tests.recommenders.conftest import SECTIONS
from tests.recommenders.models.test_similar_texts import MODELS
from tests.recommenders.training.test_cold_vectors import COLD, READING, shop

ALL = [*MODELS, *READING, "mapped", "content"]
PLAIN = SECTIONS | {"content": recommender_spec("content").settings()}
USERS = np.arange(200)


def fitted(name: str, share: float) -> Recommender:
    changes = {"cold_share": share}
    if name in READING:
        changes |= {"text": True, "epochs": 8, "lr": 0.02, "validate_every": 0}
    elif name != "mapped":
        changes |= {"text": 1.0, "neighbours": 40}
    return build(name, PLAIN[name].model_copy(update=changes), seed=2).fit(shop())


def taken(model: Recommender) -> float:
    return np.isin(model.recommend(USERS, 10)[0], COLD).mean()


@pytest.mark.parametrize("name", ALL)
def test_the_share_of_the_fit_gives_its_own_lists(name: str, tmp_path) -> None:
    """Also after it was saved and loaded."""
    model, place = fitted(name, 0.05), Workspace(str(tmp_path)) / "model"
    model.save(place)
    for known in (model, load(place)):
        again = known.at_share(0.05)
        np.testing.assert_array_equal(again.recommend(USERS, 20)[0], model.recommend(USERS, 20)[0])


@pytest.mark.parametrize("name", ALL)
def test_another_share_is_that_of_another_fit(name: str) -> None:
    model = fitted(name, 0.05)
    before = model.recommend(USERS, 20)
    other = model.at_share(0.1)
    np.testing.assert_array_equal(other.recommend(USERS, 20)[0], fitted(name, 0.1).recommend(USERS, 20)[0])
    np.testing.assert_array_equal(model.recommend(USERS, 20), before), "the fit is as it was"


@pytest.mark.parametrize("name", [name for name in ALL if name != "content"])  # so few texts tie
def test_more_places_are_taken_as_the_share_grows_and_never_more_than_it(name: str) -> None:
    model = fitted(name, 0.05)
    shares = [0.0, 0.01, 0.05, 0.1]
    found = [taken(model.at_share(share)) for share in shares]
    assert found[0] == 0 and sorted(found) == found and found[-1] > found[1]
    assert all(own <= share for own, share in zip(found, shares, strict=True))


def test_what_ranks_no_cold_item_has_no_share() -> None:
    for name in ("itemcf", "bpr", "popularity"):
        model = build(name, SECTIONS[name].model_copy(update={"text": False} if name == "bpr" else {}))
        assert model.fit(shop()).at_share(0.05) is None
