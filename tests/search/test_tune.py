"""The search: what is tried, what is kept, and that nothing is tried twice or for a fault of the recipe."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import sem

from longtail.command.show_tuning import show
from longtail.errors import InputError
from longtail.evaluation.slices import members
from longtail.recipe import LogRange, Recipe, load_recipe
from longtail.recommenders import build
from longtail.recommenders.trained_section import TrainedSection
from longtail.recommenders.training.reading import read_observed, read_validation
from longtail.recommenders.training.validation import Validation
from longtail.registry import recommender_spec, recommenders
from longtail.search.spaces import draw, space_of
from longtail.search.trial_ranks import TrialRanks
from longtail.search.trials import ranked
from longtail.search.tune import tune
from longtail.workspace import Workspace

SECTIONS = {
    "itemcf": {},
    "bpr": {"dim": 8, "epochs": 18, "batch": 128, "lr": 1e-4, "validate_every": 2},
    "popularity": {},
}
SPACE = {"bpr.lr": [1e-4, 2e-4, 1e-2], "bpr.l2": [1e-4], "bpr.batch": {"log": [32, 256]}}


def recipe(**changes: object) -> Recipe:
    values = {
        "name": "tiny",
        "dataset": {"simulation": {"users": 200, "items": 60, "tastes": 4}},
        "variants": ["observed"],
        "recommenders": SECTIONS,
        "tune": {"samples": 6, "space": SPACE},
    }
    return Recipe.model_validate(values | changes)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, ray_here: None) -> Workspace:
    ws = Workspace(str(tmp_path_factory.mktemp("run")))
    assert list(tune(recipe(), ws)) == ["itemcf", "bpr"], "popularity has nothing to tune"
    return ws


def trials(ws: Workspace, name: str) -> list[dict]:
    return (ws / f"tuning/{name}/trials.parquet").read_table().to_pylist()


@pytest.mark.parametrize("name", ["itemcf", "bpr"])
def test_the_saved_recipe_is_as_good_as_the_search_says(tuned: Workspace, name: str, tmp_path: Path) -> None:
    rows = trials(tuned, name)
    assert sorted(row["trial"] for row in rows) == list(range(6))
    own = next(row for row in rows if row["trial"] == 0)
    assert rows[0]["ndcg"] == max(row["ndcg"] for row in rows if not row["lost"]) >= own["ndcg"]

    best = load_recipe(f"{tuned}/tuning/recipe.yaml")
    section = best.recommenders[name]
    settings = json.loads(rows[0]["settings"])
    assert settings.items() <= section.model_dump().items()
    assert best.tune.found[name].trials == 6 and best.tune.found[name].settings == settings
    assert list(best.tune.found) == ["itemcf", "bpr"], "popularity has nothing to tune"
    others = best.recommenders | {one: recipe().recommenders[one] for one in best.tune.found}
    assert others == recipe().recommenders, "nothing else of the recipe has changed"
    targets = read_validation(tuned / "data")
    model = build(name, section, best.seed).fit(read_observed(tuned / "data"), None, targets)
    again = Validation.of(model, targets, best.seed)(model.arrays())
    assert again == pytest.approx(rows[0]["ndcg"], rel=1e-6)


def test_asha_ends_bad_trials_and_lets_the_best_go_on(tuned: Workspace) -> None:
    rows, counts = trials(tuned, "bpr"), tuned.manifests()["tuning/bpr"]["counts"]
    early = [row for row in rows if not row["finished"]]
    assert early and rows[0]["finished"] and counts["ended early"] == len(early) and counts["trials"] == 6
    assert all(row["epochs"] < 18 for row in early) and rows[0]["epochs"] > min(
        row["epochs"] for row in early
    )
    assert all(row["finished"] and not row["epochs"] for row in trials(tuned, "itemcf"))


def test_the_saved_recipe_loses_no_slice(tuned: Workspace, capsys: pytest.CaptureFixture) -> None:
    for name in ("itemcf", "bpr"):
        rows, counts = trials(tuned, name), tuned.manifests()[f"tuning/{name}"]["counts"]
        assert rows[0]["lost"] == [] and {one["slice"] for one in rows[0]["changes"]} == {"tail", "sparse"}
        kept = [row["ndcg"] for row in rows if row["ndcg"] is not None and not row["lost"]]
        assert rows[0]["ndcg"] == max(kept) == counts["best NDCG@10"]
        assert counts["NDCG@10 free"] == max(row["ndcg"] for row in rows)
        own = next(row for row in rows if row["trial"] == 0)
        assert own["finished"] and all(one["difference"] == 0 for one in own["changes"])
        assert (tuned / f"tuning/{name}/frontier.png").read_bytes().startswith(b"\x89PNG")
        for row in rows:
            lost = [one["slice"] for one in row["changes"] if one["difference"] + one["error"] < -1e-12]
            assert row["lost"] == lost
        show(name, tuned / f"tuning/{name}")
        text = capsys.readouterr().out
        assert "The constraint that tail and sparse must not lose cost" in text and "frontier.png" in text


def test_nothing_is_searched_twice_and_the_saved_recipe_follows_the_rest(tuned: Workspace) -> None:
    before = tuned.manifests()
    tune(recipe(), tuned)
    assert tuned.manifests() == before
    changed = recipe(evaluation={"ks": [7]})
    tune(changed, tuned, "itemcf")
    assert tuned.manifests() == before
    saved = load_recipe(f"{tuned}/tuning/recipe.yaml")
    assert saved.evaluation.ks == [7] and list(saved.tune.found) == ["itemcf", "bpr"]
    assert not [file.path for file in tuned.root.files() if ".draft-" in file.path]


def test_a_trial_that_fails_is_counted_and_never_the_best(tuned: Workspace) -> None:
    sections = {"bpr": {"dim": 4, "epochs": 3, "validate_every": 1}}
    space = {"bpr.lr": [1e30], "bpr.l2": [1e-4]}
    found = tune(recipe(recommenders=sections, tune={"samples": 3, "space": space}), tuned)
    rows = (found["bpr"] / "trials.parquet").read_table().to_pylist()
    assert [row["fault"] is None for row in rows] == [True, False]
    assert rows[1]["ndcg"] is None and "lower lr" in rows[1]["fault"]
    sections["bpr"]["lr"] = 1e30
    with pytest.raises(InputError, match=r"recommenders.bpr: every trial failed, the first: the loss"):
        tune(recipe(recommenders=sections, tune={"samples": 2, "space": space}), tuned)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"itemcf.neighbors": [1]}, r"unknown key 'itemcf.neighbors': did you mean 'itemcf.neighbours'"),
        ({"itemcf.x": [1]}, r"unknown key 'itemcf.x'.*known here: .*itemcf.neighbours"),
        ({"itemfc.recency": [1]}, r"unknown key 'itemfc.recency': did you mean 'itemcf.recency'"),
        ({"knn.k": [1]}, r"unknown key 'knn.k'.*popularity.SETTING, itemcf.SETTING"),
        ({"itemcf.recency": []}, r"at least 1 item"),
        ({"bpr.lr": {"log": [0, 1]}}, r"both above 0"),
    ],
)
def test_a_bad_space_is_refused_with_the_recipe(tmp_path: Path, space: dict, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps({"name": "x", "tune": {"space": space}}))
    with pytest.raises(InputError, match=message):
        load_recipe(path)


@pytest.mark.parametrize(
    ("changes", "only", "message"),
    [
        (
            {"tune": {"space": {"itemcf.recency": [0.5, 2]}}},
            None,
            r"itemcf.recency = 2: .*less than or equal",
        ),
        (
            {"tune": {"space": {"bpr.lr": {"log": [1e-3, 1e3]}}}, "recommenders": {"itemcf": {}}},
            "bpr",
            r"has itemcf",
        ),
        ({}, "swing", r"--recommender swing: the recipe has popularity, itemcf, bpr"),
        ({}, "popularity", r"popularity: nothing to tune.*itemcf, bm25, swing"),
        (
            {"recommenders": {"sasrec": {"dim": 50}}, "tune": {"space": {"sasrec.heads": [1, 3]}}},
            None,
            r"sasrec.heads = 3: .*dim must be a multiple",
        ),
    ],
)
def test_what_cannot_be_tuned_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, only: str | None, message: str
) -> None:
    monkeypatch.setattr("longtail.search.tune.connect", lambda resources: pytest.fail("Ray was started"))
    with pytest.raises(InputError, match=message):
        tune(recipe(**changes), Workspace(str(tmp_path)), only)
    assert not list(tmp_path.iterdir())


def test_data_without_validation_items_cannot_be_tuned_on(tmp_path: Path, ray_here: None) -> None:
    dataset = recipe().dataset.model_dump() | {"split": "temporal", "valid_share": 0.0}
    with pytest.raises(InputError, match=r"no user has a validation item.*valid_share"):
        tune(recipe(dataset=dataset), Workspace(str(tmp_path)))


@given(
    st.integers(0, 2**31), st.integers(1, 40), st.sampled_from(sorted(set(recommenders()) - {"popularity"}))
)
def test_trials_are_distinct_within_the_space_and_the_same_again(seed: int, samples: int, name: str) -> None:
    asked = recipe(
        seed=seed,
        recommenders={name: {}},
        tune={"samples": samples, "space": {"bpr.batch": {"log": [9, 99]}}},
    )
    drawn, space = draw(asked, name), space_of(asked, name)
    assert drawn == draw(asked, name) and drawn[0] == asked.recommenders[name]
    assert len({section.model_dump_json() for section in drawn}) == len(drawn) <= samples
    fixed = {setting for setting in drawn[0].model_dump() if setting not in space}
    for section in drawn[1:]:
        assert all(getattr(section, setting) == getattr(drawn[0], setting) for setting in fixed)
        for setting, axis in space.items():
            value = getattr(section, setting)
            if isinstance(axis, LogRange):
                assert axis.log[0] <= value <= axis.log[1]
            else:
                assert value in axis
    if name == "bpr":
        assert all(isinstance(section.batch, int) for section in drawn)


def test_a_small_space_is_searched_whole() -> None:
    space = {f"swing.{setting}": [1.0] for setting in recommender_spec("swing").space}
    space |= {"swing.neighbours": [5, 6], "swing.recency": [0.5, 0.9]}
    drawn = draw(recipe(recommenders={"swing": {}}, tune={"samples": 50, "space": space}), "swing")
    assert {(section.neighbours, section.recency) for section in drawn[1:]} == {
        (a, b) for a in (5, 6) for b in (0.5, 0.9)
    }
    assert len(drawn) == 5


def test_values_that_do_not_go_together_are_never_drawn() -> None:
    space = {"sasrec.dim": [50, 51], "sasrec.heads": [1, 2], "sasrec.dropout": [0.1, 0.2, 0.3, 0.4, 0.5]}
    drawn = draw(recipe(recommenders={"sasrec": {}}, tune={"samples": 20, "space": space}), "sasrec")
    assert {(section.dim, section.heads) for section in drawn[1:]} == {(50, 1), (50, 2), (51, 1)}


def test_log_ranges_are_drawn_evenly_by_their_logarithm() -> None:
    asked = recipe(
        recommenders={"bpr": {}}, tune={"samples": 400, "space": {"bpr.lr": {"log": [1e-4, 1e-2]}}}
    )
    rates = np.log10([section.lr for section in draw(asked, "bpr")[1:]])
    assert abs(np.median(rates) + 3) < 0.2 and np.ptp(rates) > 1.8


def test_every_recommender_has_a_space_of_settings_that_it_knows() -> None:
    for spec in map(recommender_spec, recommenders()):
        assert set(spec.space) <= set(spec.settings.model_fields) - {"variants", "dim", "epochs"}
        assert bool(spec.space) or not issubclass(spec.settings, TrainedSection)


def test_the_table_of_trials_has_those_that_lose_a_slice_after_those_that_do_not() -> None:
    """The first is chosen: of those that lose nothing the best, of equals the first that was drawn."""
    rows = [
        {"trial": 0, "ndcg": 0.1, "lost": []},
        {"trial": 1, "ndcg": 0.3, "lost": ["tail"]},
        {"trial": 2, "ndcg": None, "lost": []},
        {"trial": 4, "ndcg": 0.2, "lost": []},
        {"trial": 3, "ndcg": 0.2, "lost": []},
    ]
    assert [row["trial"] for row in ranked(rows)] == [3, 4, 0, 1, 2]
    free = [row | {"lost": []} for row in rows]
    assert [row["trial"] for row in ranked(free)] == [1, 3, 4, 0, 2]


def test_trials_are_held_against_the_recipes_own_settings_user_by_user(tuned: Workspace) -> None:
    rng, data = np.random.default_rng(4), tuned / "data"
    targets = read_validation(data)
    kept = TrialRanks(data, ["tail", "sparse"], seed=1)
    ranks = {trial: rng.integers(0, 13, len(targets.users)) for trial in (0, 2, 5)}
    for trial, own in ranks.items():
        kept.keep(trial, np.zeros_like(own))  # a validation before the best one
        kept.keep(trial, own)
    found = kept.changes([0, 5])
    assert list(found) == [0, 5] and not any(one.difference or one.error for one in found[0])
    gains = {  # a rank of 0 is a miss: its place in the quotient is never looked at
        trial: np.where((own > 0) & (own <= 10), 1 / np.log2(np.maximum(own, 1) + 1.0), 0)
        for trial, own in ranks.items()
    }
    inside = {"tail": members("items:tail", data), "sparse": members("users:sparse", data)}
    for one in found[5]:
        which = inside[one.slice](targets.users, targets.items)
        difference = (gains[5] - gains[0])[which]
        assert one.users == which.sum() > 1
        assert one.difference == pytest.approx(difference.mean()) and one.error == pytest.approx(
            sem(difference)
        )
    assert kept.changes([2, 5]) == {}, "if the recipe's own settings failed there is nothing to hold against"


def test_a_bad_value_of_another_recommender_is_refused_before_the_search(tmp_path: Path) -> None:
    bad = recipe(tune={"samples": 2, "space": {"bpr.lr": [-1.0]}})
    with pytest.raises(InputError, match=r"tune.space: bpr.lr = -1.0"):
        tune(bad, Workspace(str(tmp_path)), "itemcf")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name, setting", [("itemfc", "recency"), ("itemcf", "recentcy")])
def test_what_was_found_names_settings_that_there_are(name: str, setting: str) -> None:
    found = {name: {"trials": 2, "settings": {setting: 0.5}}}
    with pytest.raises(ValueError, match=f"unknown key '{name}.{setting}'"):
        recipe(tune={"found": found})
