"""The validation figures that decide what is served."""

from pathlib import Path

from longtail.aggregation.choice import choose, read_figures
from longtail.evaluation.evaluated_runs import evaluated
from longtail.evaluation.validation_figures import publish_figures
from longtail.recipe import Recipe
from longtail.workspace import Workspace


def test_nothing_is_chosen_from_a_variant_that_uses_the_answer_key(tmp_path: Path) -> None:
    """Not even if it has the best figure."""
    recipe = Recipe.model_validate(
        {
            "name": "x",
            "variants": ["observed", "discriminated", "without_hits"],
            "recommenders": {"itemcf": {}},
            "evaluation": {"served": False},
            "constraint": {"slices": []},
        }
    )
    ws, ndcg = Workspace(str(tmp_path)), {"observed": 0.1, "discriminated": 0.2, "without_hits": 0.3}
    for run in evaluated(recipe):
        stage = ws.stage(run.evaluation, {"depth": 10})
        with stage.publishing():
            stage.counts = {"validation": {"users": 3, "ndcg": ndcg[run.variant]}}
    publish_figures(recipe, ws)
    figures = read_figures(ws)
    assert [one.variant for one in figures] == ["observed", "discriminated"]
    assert choose(figures, recipe.serving).variant == "discriminated"
