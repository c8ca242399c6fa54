"""The controls of a whole run: stand-ins are fitted once, fill the LLM's amounts by slice, and are served as its list is."""

import numpy as np
import pyarrow as pa
import pytest

from longtail.aggregation.llm_lists import LLMLists
from longtail.augment.judge import rankings
from longtail.augment.strategies.item_tokens import rare_items
from longtail.data import prepare, read_histories
from longtail.data.catalogue import SLICES, slice_codes
from longtail.evaluation import evaluate
from longtail.evaluation.evaluated_runs import evaluated
from longtail.fusion import fuse
from longtail.fusion.amounts import counted
from longtail.recipe import Recipe
from longtail.recommenders import load, train
from longtail.recommenders.interactions import Histories, Interactions
from longtail.schema import ANSWERS
from longtail.workspace import Workspace, read_manifest

RECIPE = Recipe.model_validate(
    {
        "name": "stand-ins",
        "dataset": {"simulation": {"users": 150, "items": 60, "tastes": 4}},
        "judge": {"likelihood": 0.5, "agreement": 0.5, "yes_no": 0.0, "keep": 3},
        "variants": ["observed", "discriminated", "itemcf", "text_order", "sequence"],
        "recommenders": {
            "itemcf": {"recency": 0.8},
            "sasrec": {"dim": 8, "epochs": 2, "max_length": 8, "layers": 1, "variants": ["observed"]},
        },
        "evaluation": {"ks": [10], "protocol": "train-only"},
    }
)
CONTROLS = ("itemcf", "text_order", "sequence")


def publish_answers(ws: Workspace) -> None:
    """Eight items for every user but the first, neither known nor held out, with lists of all of them."""
    rng, items = np.random.default_rng(1), (ws / "data/items.parquet").read_table()
    rows = []
    for row in read_histories(ws / "data").to_pylist()[1:]:
        unknown = np.setdiff1d(np.arange(items.num_rows), row["items"])
        proposals = [
            {"item": int(item), "likelihood": rng.random(), "agreement": rng.random(), "outcome": None}
            for item in rng.permutation(unknown)[:8]
        ]
        rows.append({"request_id": f"{row['user']:016x}", "user": row["user"], "proposals": proposals})
    table = pa.Table.from_pylist([dict.fromkeys(ANSWERS.names) | row for row in rows], ANSWERS)
    with ws.stage("augmentation/next_item", {}, [ws / "data"]).publishing() as draft:
        (draft / "answers/a.parquet").write_table(table)
        (draft / "rankings/a.parquet").write_table(rankings(table, RECIPE.judge, rare_items(items)))


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    ws = Workspace(str(tmp_path_factory.mktemp("stand-ins")))
    prepare(RECIPE, ws)
    publish_answers(ws)
    for stage in (fuse, train, evaluate):
        stage(RECIPE, ws)
    return ws


def added(ws: Workspace, variant: str, n_items: int) -> Histories:
    found = Interactions.from_table((ws / f"fused/{variant}/interactions").read_table(), n_items)
    whole = [found.items[found.indptr[user] : found.indptr[user + 1]] for user in range(found.n_users)]
    return Histories.of(own[observed:] for own, observed in zip(whole, found.observed, strict=True))


def test_controls_add_as_many_of_each_slice_or_say_what_is_short(ws: Workspace) -> None:
    items = (ws / "data/items.parquet").read_table()
    codes = slice_codes(items["slice"])
    wanted = counted(added(ws, "discriminated", len(codes)), codes)
    assert "short" not in read_manifest(ws / "fused/discriminated")["counts"]
    for control in CONTROLS:
        own = added(ws, control, len(codes))
        lacking = wanted - counted(own, codes)
        assert (lacking >= 0).all()
        told = read_manifest(ws / f"fused/{control}")["counts"]["short"]
        assert told == dict(zip(SLICES, lacking.sum(axis=0).tolist(), strict=True))
    # A tuned SASRec scores every warm item, so it lacks none of them; nobody proposes what nothing trained.
    lacking = wanted - counted(added(ws, "sequence", len(codes)), codes)
    assert not lacking[:, [SLICES.index(name) for name in ("head", "mid", "tail")]].any()


def test_a_stand_in_is_fitted_once_with_a_seed_of_its_own(ws: Workspace) -> None:
    own, evaluated_one = (
        read_manifest(ws / place) for place in ("stand_ins/sasrec", "recommenders/observed/sasrec-0")
    )
    assert own["settings"] | {"seed": None} == evaluated_one["settings"] | {"seed": None}
    assert own["settings"]["seed"] != evaluated_one["settings"]["seed"]
    before = read_manifest(ws / "stand_ins/sasrec"), read_manifest(ws / "stand_ins/text_order")
    lighter = RECIPE.model_copy(update={"judge": RECIPE.judge.model_copy(update={"weight": 0.1})})
    old = read_manifest(ws / "fused/sequence")
    fuse(lighter, ws)
    assert (read_manifest(ws / "stand_ins/sasrec"), read_manifest(ws / "stand_ins/text_order")) == before
    assert read_manifest(ws / "fused/sequence")["fingerprint"] != old["fingerprint"]
    fuse(RECIPE, ws)


def test_every_list_has_its_control_of_the_same_length(ws: Workspace) -> None:
    served = {run.variant for run in evaluated(RECIPE) if read_manifest(ws / run.evaluation)}
    for control in ("itemcf", "text_order", "sequence"):
        assert {f"served_{control}", f"log_list_{control}", f"list_{control}"} <= served
    place = ws / "evaluation/served_sequence/itemcf-0"
    manifest = read_manifest(place)
    assert manifest["settings"]["list"]["itemcf"] == RECIPE.itemcf.of_fit()
    assert read_manifest(ws / "stand_ins/sasrec")["fingerprint"] in manifest["inputs"]


def test_the_list_alone_is_the_stand_ins_own_ranking(ws: Workspace) -> None:
    """The rank of a test item among the list's items is its place in the order of likelihood and agreement; or none."""
    n_users = read_manifest(ws / "data")["counts"]["users"]
    lists = LLMLists.read(ws / "augmentation/next_item/rankings", n_users)
    ranks = (ws / "evaluation/list_text_order/itemcf-0/ranks").read_table().to_pylist()
    model = load(ws / "stand_ins/text_order")
    for row in ranks:
        length = int(lists.lengths[row["user"]])
        likeliest, _ = model.recommend(np.array([row["user"]]), max(length, 1))
        within = length > 0 and row["item"] in likeliest[0][:length]
        assert (row["rank"] > 0) == within and row["rank"] <= length
    assert any(row["rank"] for row in ranks)
