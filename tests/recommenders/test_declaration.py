"""What every recommender in the registry declares."""

import pytest

from longtail.recipe import RecommenderSection
from longtail.recommenders import build
from longtail.recommenders.declaration import RecommenderSpec
from longtail.recommenders.models.neighbours import Neighbours
from longtail.recommenders.recommender import Recommender
from longtail.registry import RECOMMENDERS, recommender_spec


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_every_registered_spec_makes_a_recommender_with_its_settings(name: str) -> None:
    spec = recommender_spec(name)
    assert isinstance(spec, RecommenderSpec) and issubclass(spec.settings, RecommenderSection)
    model = build(name, spec.settings())
    assert isinstance(model, Recommender) and model.name == name
    assert spec.item_to_item == isinstance(model, Neighbours)
    assert not spec.item_to_item or {"neighbours", "recency"} <= set(spec.settings.model_fields)
