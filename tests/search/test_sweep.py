"""The sweep: every point is what fuse, train and a full ranking would give, none is made twice, and no test item counts."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import sem, ttest_rel
from typer.testing import CliRunner

from longtail.cli import main
from longtail.command.show_sweep import show
from longtail.data import prepare, read_histories
from longtail.errors import InputError
from longtail.fusion import fuse
from longtail.recipe import Judge, Recipe, load_recipe
from longtail.recommenders import load, train
from longtail.schema import ANSWERS, HISTORIES
from longtail.search.sweep import sweep
from longtail.search.sweep_plots import draw
from longtail.search.sweep_search import AXES, JUDGE, POINTS, Search
from longtail.workspace import Workspace

AXES_TRIED = {
    "blend": [[1, 0, 0]],
    "keep": [1, 6],
    "weight": [1.0],
    "tail_share": [0.5],
    "threshold": [0.6],
}
START = {"likelihood": 0.5, "agreement": 0.5, "yes_no": 0.0, "keep": 3, "weight": 0.3}


def recipe(**changes: object) -> Recipe:
    values = {
        "name": "tiny",
        "dataset": {"simulation": {"users": 200, "items": 70, "tastes": 4}},
        "judge": START,
        "sweep": AXES_TRIED,
        "constraint": {"slices": []},
        "variants": ["observed", "discriminated", "itemcf"],
        "resources": {"parallel": 4},
        "evaluation": {"protocol": "train-only"},
        "recommenders": {"itemcf": {"recency": 0.8}, "bpr": {"dim": 8, "epochs": 9, "lr": 0.01, "batch": 64}},
    }
    return Recipe.model_validate(values | changes)


def publish_answers(ws: Workspace, judge_questions: int = 0) -> None:
    """Eight items for every user that are neither known nor held out, the next in the catalogue the likelier."""
    rng, rows = np.random.default_rng(1), []
    n_items = (ws / "data/items.parquet").read_table().num_rows
    for row in read_histories(ws / "data").to_pylist():
        unknown = np.setdiff1d(np.arange(n_items), row["items"])
        items = rng.permutation(unknown)[:8]
        proposals = [
            {"item": int(item), "likelihood": near, "agreement": score, "outcome": None}
            for item, near, score in zip(items, 1 / (1 + np.sort(items)), rng.random(8), strict=False)
        ]
        rows.append({"request_id": f"{row['user']:016x}", "user": row["user"], "proposals": proposals})
    table = pa.Table.from_pylist([dict.fromkeys(ANSWERS.names) | row for row in rows], ANSWERS)
    stage = ws.stage("augmentation/next_item", {}, [ws / "data"])
    with stage.publishing() as draft:
        stage.counts = {"judge_questions": judge_questions}
        (draft / "answers/b.parquet").write_table(table.slice(100))
        (draft / "answers/a.parquet").write_table(table.slice(0, 100))


@pytest.fixture(scope="module")
def augmented(tmp_path_factory: pytest.TempPathFactory, ray_here: None) -> Workspace:
    ws = Workspace(str(tmp_path_factory.mktemp("run")))
    prepare(recipe(), ws)
    publish_answers(ws)
    return ws


@pytest.fixture(scope="module")
def swept(augmented: Workspace) -> Workspace:
    sweep(recipe(), augmented, "itemcf")
    return augmented


def points(ws: Workspace, name: str = "itemcf") -> list[dict]:
    return (ws / f"sweep/{name}/points.parquet").read_table().to_pylist()


def copy(ws: Workspace, to: Path) -> Workspace:
    shutil.copytree(ws.root.path, to, dirs_exist_ok=True)
    return Workspace(str(to))


def per_user(
    ws: Workspace, variant: str, inside: Callable[[str, str], bool]
) -> tuple[np.ndarray, np.ndarray]:
    """NDCG and recall at 10 of each user with a target that is `inside` by the slices of user and item: one list after the
    other, one item after the other.
    """
    model = load(ws / f"recommenders/{variant}/itemcf-0")
    slices = (ws / "data/items.parquet").read_table()["slice"].to_pylist()
    ndcg, recall = [], []
    for row in read_histories(ws / "data").to_pylist():
        targets = row["items"][row["train_end"] : row["valid_end"]]
        targets = [item for item in targets if inside(row["slice"], slices[item])]
        if not targets:
            continue
        ranked = model.recommend(np.array([row["user"]]), 10)[0][0].tolist()
        gains = [1 / np.log2(ranked.index(item) + 2) for item in targets if item in ranked]
        ndcg.append(sum(gains) / sum(1 / np.log2(place + 2) for place in range(min(len(targets), 10))))
        recall.append(len(gains) / len(targets))
    return np.array(ndcg), np.array(recall)


@pytest.mark.parametrize(
    "where",
    [
        {"search": "alone", "axis": "tail_share", "tail_share": 0.5},
        {"search": "alone", "axis": "threshold", "threshold": 0.6},
        {"search": "control", "weight": 1.0},
        {"best": True},
    ],
)
def test_a_point_is_what_fuse_and_train_and_a_full_ranking_give(
    swept: Workspace, tmp_path: Path, where: dict
) -> None:
    row = next(row for row in points(swept) if where.items() <= row.items())
    ws = copy(swept, tmp_path)
    own = {name: row[name] for name in JUDGE}
    asked = recipe(recommenders={"itemcf": {"recency": 0.8, "judge": own}})
    fuse(asked, ws)
    train(asked, ws)
    every = {"": lambda user, item: True, "tail_": lambda user, item: item in ("tail", "cold")}
    for prefix, inside in every.items():
        found, base = (per_user(ws, variant, inside) for variant in (row["variant"], "observed"))
        for name, mine, theirs in zip(("ndcg", "recall"), found, base, strict=True):
            assert row[prefix + name] == pytest.approx(mine.mean(), abs=1e-9)
            expected = ttest_rel(mine, theirs).statistic
            assert (row[f"t_{prefix}{name}"] or 0) == pytest.approx(np.nan_to_num(expected), abs=1e-6)
    fused = (ws / f"fused/{row['variant']}-itemcf/interactions").read_table().to_pylist()
    assert row["added"] == sum(len(user["items"]) - user["observed"] for user in fused)


def test_every_axis_is_moved_alone_and_then_in_turn(swept: Workspace) -> None:
    rows = points(swept)
    assert [row["search"] for row in rows[:2]] == ["observed", "recipe"]
    start = rows[1]
    for axis in AXES:
        moved = {"likelihood", "agreement", "yes_no"} if axis == "blend" else {axis}
        curve = [row for row in rows if row["search"] == "alone" and row["axis"] == axis]
        assert len(curve) == len({tuple(row[name] for name in moved) for row in curve})
        assert len(curve) == len(AXES_TRIED[axis]) + 1, "the recipe's own value is among them"
        assert all(row[name] == start[name] for row in curve for name in set(JUDGE) - moved)
    judge = {name: start[name] for name in JUDGE}
    for axis in AXES:
        curve = [row for row in rows if row["search"] == "in turn" and row["axis"] == axis]
        moved = {"likelihood", "agreement", "yes_no"} if axis == "blend" else {axis}
        assert all(row[name] == judge[name] for row in curve for name in set(JUDGE) - moved)
        best = max(curve, key=lambda row: row["ndcg"])
        if best["ndcg"] > max(row["ndcg"] for row in curve if all(row[n] == judge[n] for n in JUDGE)):
            judge = {name: best[name] for name in JUDGE}
    best = [row for row in rows if row["best"]]
    judged = [row for row in rows if row["search"] in ("recipe", "in turn")]
    assert best and best[0]["ndcg"] == max(row["ndcg"] for row in judged)


def test_the_control_is_searched_as_the_llm_is(swept: Workspace) -> None:
    rows = points(swept)
    best = next(row for row in rows if row["best"])
    control, own = ([row for row in rows if row["search"] == search] for search in ("control", "in turn"))
    assert {row["variant"] for row in control} == {"itemcf"}
    for axis in AXES:
        tried = [
            [row[axis] for row in some if row["axis"] == axis] for some in (control, own) if axis != "blend"
        ]
        assert not tried or set(AXES_TRIED[axis]) <= set(tried[0]) & set(tried[1])
        assert abs(sum(row["axis"] == axis for row in control) - sum(row["axis"] == axis for row in own)) <= 1
    strongest = max(control, key=lambda row: row["ndcg"])
    assert strongest["t_control_ndcg"] is None, "nobody differs from himself"
    assert best["t_control_ndcg"] is not None
    amounts = {
        tuple(row[name] for name in JUDGE): row["added"] for row in rows if row["variant"] == "discriminated"
    }
    for row in control:
        assert row["added"] <= amounts.get(tuple(row[name] for name in JUDGE), row["added"])


def test_only_the_search_in_turn_chooses(swept: Workspace) -> None:
    """The curves of single axes are for the eye: the control has none, so a choice from them would be a larger budget."""
    best = {tuple(row[name] for name in JUDGE) for row in points(swept) if row["best"]}
    chosen = [row for row in points(swept) if row["search"] in ("recipe", "in turn")]
    top = max(chosen, key=lambda row: row["ndcg"])
    assert len(best) == 1 and best <= {tuple(row[name] for name in JUDGE) for row in chosen}
    assert next(row for row in points(swept) if row["best"])["ndcg"] == top["ndcg"]


def test_the_saved_part_of_a_recipe_sets_the_best_judge(swept: Workspace) -> None:
    part = yaml.safe_load((swept / "sweep/itemcf/best.yaml").read_bytes())
    own = part["recommenders"]["itemcf"]
    best = next(row for row in points(swept) if row["best"])
    asked = recipe(recommenders={"itemcf": own})
    assert {name: getattr(asked.judge_of("itemcf"), name) for name in JUDGE} == {
        name: best[name] for name in JUDGE
    }
    control = max((row for row in points(swept) if row["search"] == "control"), key=lambda row: row["ndcg"])
    found = asked.judge_of("itemcf", "itemcf")
    assert {name: getattr(found, name) for name in JUDGE} == {name: control[name] for name in JUDGE}
    assert (swept / "sweep/itemcf/curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_recipes_judge_stays_where_nothing_is_better(swept: Workspace, tmp_path: Path) -> None:
    best = {name: row[name] for row in points(swept) if row["best"] for name in JUDGE}
    ws = copy(swept, tmp_path)
    alone = {"keep": [best["keep"]], "weight": [best["weight"]], "tail_share": [best["tail_share"]]}
    alone |= {"threshold": [best["threshold"]]}
    alone |= {"blend": [[best[name] for name in ("likelihood", "agreement", "yes_no")]]}
    asked = recipe(
        sweep=alone, judge=best | {"weight": 0.2}, recommenders={"itemcf": {"recency": 0.8, "judge": best}}
    )
    sweep(asked, ws, "itemcf")
    own = yaml.safe_load((ws / "sweep/itemcf/best.yaml").read_bytes())["recommenders"]["itemcf"]
    changes = own["judge"]
    assert changes == {"weight": best["weight"]}, "what the recommender has already is not lost"


def test_with_a_constraint_no_slice_is_lost_and_no_point_is_made_again(
    swept: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """What a slice gains is the paired difference of the two fits, by hand for the chosen one."""
    ws = copy(swept, tmp_path)
    before = made(ws)
    sweep(recipe(constraint={"slices": ["tail", "sparse"], "within_se": 0.5}), ws, "itemcf")
    assert before.items() <= made(ws).items(), "a point does not depend on the constraint"
    rows = points(ws)
    for row in rows:
        assert row["lost"] == [
            one["slice"] for one in row["changes"] if one["difference"] + 0.5 * one["error"] < -1e-12
        ]
    tried = [row for row in rows if row["search"] in ("recipe", "in turn")]
    kept = [row for row in tried if not row["lost"]]
    best = next(row for row in rows if row["best"])
    assert best["ndcg"] == max(row["ndcg"] for row in kept) if kept else best["variant"] == "observed"
    assert any(row["lost"] for row in rows), "otherwise this shows nothing"
    counts = ws.manifests()["sweep/itemcf"]["counts"]
    assert counts["NDCG@10 free"] == max(row["ndcg"] for row in tried) >= counts["NDCG@10 best"]
    assert (ws / "sweep/itemcf/frontier.png").read_bytes().startswith(b"\x89PNG")

    show("itemcf", ws / "sweep/itemcf")
    text = capsys.readouterr().out
    assert "The constraint that tail and sparse must not lose" in text and "loses" in text

    some = next(row for row in tried if any(one["difference"] for one in row["changes"]))
    judge = {name: some[name] for name in JUDGE}
    settled = recipe(recommenders={"itemcf": {"recency": 0.8, "judge": judge}})
    fuse(settled, ws)
    train(settled, ws)
    for one in some["changes"]:
        inside = lambda user, item, name=one["slice"]: name in (user, item)  # noqa: E731
        mine, theirs = (per_user(ws, variant, inside)[0] for variant in ("discriminated", "observed"))
        assert one["users"] == len(mine)
        assert one["difference"] == pytest.approx((mine - theirs).mean(), abs=1e-9)
        assert one["error"] == pytest.approx(sem(mine - theirs), abs=1e-9)


@pytest.mark.parametrize(("aim", "kind"), [("tail", "items"), ("sparse", "users")])
def test_a_sweep_aims_at_a_slice(augmented: Workspace, tmp_path: Path, aim: str, kind: str) -> None:
    """The best is the best there, and its figure that of the slice in the report. Failed before: only all users counted."""
    ws = copy(augmented, tmp_path)
    asked = recipe(sweep=AXES_TRIED | {"slice": aim})
    sweep(asked, ws, "itemcf")
    rows = points(ws)
    assert {row["slice"] for row in rows} == {aim}
    best = next(row for row in rows if row["best"])
    judged = [row for row in rows if row["search"] in ("recipe", "in turn")]
    assert best["aim_ndcg"] == max(row["aim_ndcg"] for row in judged)
    judge = {name: best[name] for name in JUDGE}
    settled = recipe(recommenders={"itemcf": {"recency": 0.8, "judge": judge}})
    fuse(settled, ws)
    train(settled, ws)
    ndcg, _ = per_user(ws, "discriminated", lambda user, item: aim in (user, item))
    assert best["aim_ndcg"] == pytest.approx(ndcg.mean(), abs=1e-9)
    control = [row for row in rows if row["search"] == "control"]
    strongest = max(control, key=lambda row: row["aim_ndcg"])
    assert strongest["t_control_aim_ndcg"] is None


def test_a_slice_that_no_validation_item_is_in_is_said_at_once(augmented: Workspace, tmp_path: Path) -> None:
    ws = copy(augmented, tmp_path)
    asked, before = recipe(sweep=AXES_TRIED | {"slice": "active"}), made(ws)
    with pytest.raises(InputError, match=r"sweep.slice = active: no validation item is in this slice"):
        sweep(asked, ws, "itemcf")
    assert made(ws) == before, "no point was made"


def made(ws: Workspace) -> dict[str, int]:
    return {file.name: Path(file.path).stat().st_mtime_ns for file in (ws / "sweep/points").files()}


def test_no_point_is_made_twice(swept: Workspace, tmp_path: Path) -> None:
    ws = copy(swept, tmp_path)
    before, table = made(ws), points(ws)
    manifest = ws.manifests()
    sweep(recipe(), ws, "itemcf")
    assert ws.manifests() == manifest, "a sweep that is there is not run again"
    more = recipe(sweep=AXES_TRIED | {"keep": [1, 2, 6]})
    sweep(more, ws, "itemcf")
    after = made(ws)
    assert before.items() <= after.items() and len(after) > len(before)
    assert any(row["keep"] == 2 for row in points(ws))

    (ws / "sweep/itemcf").delete()
    kept = sorted(before)
    lost = next(name for name in kept if name.endswith(".json"))
    (ws / f"sweep/points/{lost}").delete()  # cut off after its ranks, before its figures
    sweep(recipe(), ws, "itemcf")
    ours = {name: time for name, time in made(ws).items() if name in before}
    again = {name for name in before if ours[name] != before[name]}
    assert again == {lost, lost.replace(".json", ".parquet")}
    timeless = [{name: row[name] for name in row if name != "seconds"} for row in points(ws)]
    assert timeless == [{name: row[name] for name in row if name != "seconds"} for row in table]


def test_test_items_change_nothing(swept: Workspace, tmp_path: Path) -> None:
    ws = copy(swept, tmp_path)
    (ws / "sweep").delete()
    rng = np.random.default_rng(3)
    n_items = (ws / "data/items.parquet").read_table().num_rows
    rows = read_histories(ws / "data").to_pylist()
    for row in rows:
        known = row["items"][: row["valid_end"]]
        row["items"] = known + rng.integers(0, n_items, len(row["items"]) - len(known)).tolist()
    (ws / "data/histories").delete()
    (ws / "data/histories/a.parquet").write_table(pa.Table.from_pylist(rows, HISTORIES))
    sweep(recipe(), ws, "itemcf")

    def timeless(where: Workspace) -> list[dict]:
        return [{key: row[key] for key in row if key != "seconds"} for row in points(where)]

    assert timeless(ws) == timeless(swept)


def test_a_trained_recommender_is_searched_in_turn_over_near_values(augmented: Workspace) -> None:
    asked = recipe(sweep=AXES_TRIED | {"keep": [1, 2, 6, 8], "epochs": 2})
    sweep(asked, augmented, "bpr")
    rows = points(augmented, "bpr")
    assert {row["search"] for row in rows} == {"observed", "recipe", "in turn", "control"}
    assert {row["keep"] for row in rows if row["axis"] == "keep"} == {2, 3, 6}
    assert augmented.manifests()["sweep/bpr"]["settings"]["section"]["epochs"] == 2


@given(
    axis=st.sampled_from(AXES),
    judge=st.builds(
        Judge,
        keep=st.integers(1, 12),
        weight=st.sampled_from([0.1, 0.25, 1.0]),
        threshold=st.sampled_from([0.0, 0.3]),
        tail_share=st.sampled_from([0.0, 0.2, 0.7]),
    ),
)
def test_moving_along_an_axis_changes_nothing_else(axis: str, judge: Judge) -> None:
    values = {name: getattr(recipe().sweep, name) for name in AXES}
    search = Search(None, recipe().judge, values)
    every, near = (search._moved(judge, axis, only_near) for only_near in (False, True))
    moved = {"likelihood", "agreement", "yes_no"} if axis == "blend" else {axis}
    for setting in every:
        assert setting.judge.model_dump(exclude=moved) == judge.model_dump(exclude=moved)
        assert Judge.model_validate(setting.judge.model_dump()) == setting.judge
    assert judge in [setting.judge for setting in near]
    if axis == "blend":
        assert near == every
    else:
        tried = [getattr(setting.judge, axis) for setting in every]
        assert tried == sorted({*values[axis], getattr(judge, axis), getattr(recipe().judge, axis)})
        place = tried.index(getattr(judge, axis))
        assert near == every[max(0, place - 1) : place + 2]


@pytest.mark.parametrize(("questions", "tried"), [(0, 1), (5, 2)])
def test_a_blend_with_yes_no_needs_a_discriminator_that_was_asked(
    augmented: Workspace, tmp_path: Path, questions: int, tried: int
) -> None:
    ws = copy(augmented, tmp_path)
    publish_answers(ws, questions)
    few = {name: AXES_TRIED[name][:1] for name in AXES} | {"blend": [[1, 0, 0], [0, 0, 1]]}
    sweep(recipe(sweep=few), ws, "itemcf")
    curve = [row for row in points(ws) if row["search"] == "alone" and row["axis"] == "blend"]
    assert len(curve) == tried + 1 and any(row["yes_no"] for row in curve) == bool(questions)


def test_a_picture_is_drawn_where_nobody_has_a_long_tail_target(swept: Workspace) -> None:
    rows = [row | {"tail_ndcg": None, "tail_recall": None} for row in points(swept)]
    assert draw(pa.Table.from_pylist(rows, POINTS), "itemcf").startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("changes", "only", "message"),
    [
        ({}, "swing", r"--recommender swing: the recipe has itemcf, bpr"),
        ({}, None, r"data is missing.*longtail prepare"),
        (
            {"recommenders": {"itemcf": {"variants": ["observed"]}}},
            "itemcf",
            r"itemcf: not fitted on the variant 'discriminated'",
        ),
        ({"variants": ["observed"]}, None, r"the recipe: not fitted on the variant 'discriminated'"),
    ],
)
def test_what_cannot_be_swept_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict, only: str | None, message: str
) -> None:
    monkeypatch.setattr("longtail.search.sweep.connect", lambda resources: pytest.fail("Ray was started"))
    with pytest.raises(InputError, match=message):
        sweep(recipe(**changes), Workspace(str(tmp_path)), only)
    assert not list(tmp_path.iterdir())


def test_without_answers_or_validation_items_there_is_nothing_to_sweep(
    tmp_path: Path, ray_here: None
) -> None:
    ws = Workspace(str(tmp_path))
    temporal = recipe().dataset.model_dump() | {"split": "temporal", "valid_share": 0.0}
    asked = recipe(dataset=temporal)
    prepare(asked, ws)
    with pytest.raises(InputError, match=r"augmentation/next_item is missing.*longtail augment"):
        sweep(asked, ws)
    publish_answers(ws)
    with pytest.raises(InputError, match=r"no user has a validation item.*valid_share"):
        sweep(asked, ws)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"keep": []}, r"sweep.keep = \[\].*at least 1 item"),
        ({"blend": [[0, 0, 0]]}, r"at least one of likelihood, agreement and yes_no"),
        ({"blend": [[1, 0]]}, r"sweep.blend.0"),
        ({"weight": [2.0]}, r"sweep.weight.0 = 2.0.*less than or equal to 1"),
        ({"keeps": [1]}, r"unknown key 'sweep.keeps': did you mean 'keep'"),
    ],
)
def test_bad_axes_are_refused_with_the_recipe(tmp_path: Path, axes: dict, message: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps({"name": "x", "sweep": axes}))
    with pytest.raises(InputError, match=message):
        load_recipe(path)


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps({"name": "x"}))
    result = CliRunner().invoke(main, ["sweep", str(path), "-w", str(tmp_path / "run")])
    assert result.exit_code == 2 and "longtail prepare" in " ".join(result.output.split())


def test_the_command_shows_observed_recipe_control_and_best(
    swept: Workspace, capsys: pytest.CaptureFixture
) -> None:
    show("itemcf", swept / "sweep/itemcf")
    text = capsys.readouterr().out
    best = next(row for row in points(swept) if row["best"])
    assert all(word in text for word in ("observed", "recipe", "itemcf", f"{best['ndcg']:.4f}", "judge:"))
    assert "frontier.png" in text and "The constraint" not in text
