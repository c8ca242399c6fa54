"""The sentences about choices: here, with how many trials settings were chosen."""

from longtail.recipe import Recipe
from longtail.report.choice_words import settings_words


def words(found: dict, **recommenders: dict) -> str:
    recipe = Recipe.model_validate({"name": "x", "recommenders": recommenders, "tune": {"found": found}})
    return settings_words(recipe.model_dump(mode="json"))


def test_the_budget_of_each_recommender_is_told() -> None:
    found = {
        "itemcf": {"trials": 12, "settings": {"recency": 0.6}},
        "bm25": {"trials": 12, "settings": {"recency": 0.6}},
        "swing": {"trials": 12, "settings": {"recency": 0.7}},
    }
    said = words(found, itemcf={"recency": 0.6}, bm25={"recency": 0.6}, swing={"recency": 0.8}, popularity={})
    assert said == (
        "Settings of the recommenders: as the recipe has them, without a search (Popularity);"
        " the best of 12 trials on validation (ItemCF, BM25);"
        " changed by hand after a search of 12 trials (Swing)."
    )
