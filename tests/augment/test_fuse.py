"""The stage fuse: the training set of every strategy, and its control, which copies everything but the LLM."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from longtail.fusion.fuse_stage import fuse
from longtail.recipe import Recipe
from longtail.recommenders.interactions import Interactions, Preferences
from longtail.schema import ACCEPTED, NOT_CHOSEN, UNDECIDED
from longtail.variants import VARIANTS
from longtail.workspace import Workspace, read_manifest
from tests.augment.conftest import answers
from tests.augment.strategies.conftest import COLD, N_ITEMS, catalogue_of, histories, store

N_USERS = 40
LOG = [[(user + step) % 6 + 12 * (user % 2) for step in range(4)] for user in range(N_USERS)]
LATER = [[12 * (user % 2) + 10, 12 * (user % 2) + 11] for user in range(N_USERS)]
SLICES_OF_ITEMS = store()["slice"].to_pylist()
CONTROLS = {
    "id_list": "id_list_itemcf",
    "insertion": "insertion_itemcf",
    "pairs": "pairs_shuffled",
    "cold_pairs": "cold_pairs_shuffled",
}


def answered(strategy: str) -> list[dict]:
    """Rows of answers. Every third user was not asked about, or has no usable answer. The first guess of others is right."""
    said = []
    for user in range(N_USERS):
        alike = range(12 * (user % 2), 12 * (user % 2) + 12)
        free = LATER[user][:1] + [item for item in alike if item not in LOG[user] + LATER[user]]
        if strategy in ("pairs", "cold_pairs"):
            shift = COLD if strategy == "cold_pairs" else 0
            proposals = [
                {"item": shift + 2 * n, "against": shift + 2 * n + 1, "likelihood": 0.9 - 0.1 * n}
                | {"outcome": UNDECIDED if user % 3 == 2 else ACCEPTED}
                for n in range(3)
            ]
        else:
            wanted = {"id_list": user % 3, "insertion": int(user % 3 > 0)}[strategy]
            proposals = [
                {"item": item, "likelihood": 0.5, "outcome": ACCEPTED if n < wanted else NOT_CHOSEN}
                for n, item in enumerate(free[:4])
            ]
        said.append({"request_id": f"{strategy}{user}", "user": user, "proposals": proposals})
    return said


RECIPE = Recipe.model_validate(
    {
        "name": "fused",
        "augment": [{"strategy": name} for name in CONTROLS],
        "generator": {"tasks": {"next_item": 1, "id_list": 1}},
        "discriminator": {"tasks": {"preference": 1}},
        "variants": ["observed", *CONTROLS, *CONTROLS.values()],
        "recommenders": {"itemcf": {"recency": 0.8}},
        "evaluation": {"protocol": "train-only"},
    }
)


def fused_in(folder: Path, later: list[list[int]]) -> Workspace:
    """All training sets of the recipe, with these held-out items."""
    ws = Workspace(str(folder))
    stage = ws.stage("data", {})
    with stage.publishing() as draft:
        (draft / "histories/a.parquet").write_table(histories(LOG, later))
        (draft / "items.parquet").write_table(store())
        stage.counts = {"users": N_USERS, "items": N_ITEMS}
    for name in CONTROLS:
        with ws.stage(f"augmentation/{name}", {}).publishing() as draft:
            (draft / "answers/a.parquet").write_table(answers(answered(name)))
    fuse(RECIPE, ws)
    return ws


@pytest.fixture(scope="module")
def fused(tmp_path_factory, ray_here) -> Workspace:
    return fused_in(tmp_path_factory.mktemp("ws"), LATER)


def read(ws: Workspace, variant: str) -> Interactions:
    return Interactions.from_table((ws / f"fused/{variant}/interactions").read_table(), N_ITEMS)


def rows(ws: Workspace, variant: str) -> list[dict]:
    return (ws / f"fused/{variant}/interactions").read_table().sort_by("user").to_pylist()


def preferred(ws: Workspace, variant: str) -> Preferences:
    return Preferences.from_table((ws / f"fused/{variant}/preferences").read_table())


def added(row: dict) -> list[int]:
    return row["items"][row["observed"] :]


@pytest.mark.parametrize("variant", ["id_list", "insertion"])
def test_a_control_adds_as_many_of_each_slice_and_none_of_them_is_known(fused, variant):
    """ItemCF has few candidates in a store of two tastes: what it lacks is counted, by slice. If it lacks nothing, the
    control of `insertion` puts its items at the same places.
    """
    pairs = list(zip(rows(fused, variant), rows(fused, VARIANTS[variant].control), strict=True))
    short: Counter[str] = Counter()
    for own, control in pairs:
        assert not set(added(control)) & {*LOG[own["user"]]} and len({*added(control)}) == len(added(control))
        wanted, found = (Counter(SLICES_OF_ITEMS[item] for item in added(row)) for row in (own, control))
        assert found <= wanted
        short += wanted - found
        if found == wanted:
            assert own["weights"] == control["weights"] and own["sequence"] == control["sequence"]
        assert (own["sequence"] is None) == (variant != "insertion")
    assert any(
        added(own) != added(control) and len(added(own)) == len(added(control)) for own, control in pairs
    )
    counts = read_manifest(fused / f"fused/{VARIANTS[variant].control}")["counts"]
    assert Counter(counts["short"]) == short


@pytest.mark.parametrize("variant", ["id_list", "insertion"])
def test_a_right_guess_is_added_like_any_other(fused, variant):
    for row in rows(fused, variant):
        assert (LATER[row["user"]][0] in added(row)) == (row["user"] % 3 > 0)


@pytest.mark.parametrize("variant", ["pairs", "cold_pairs"])
def test_a_coin_is_tossed_about_the_pairs_of_its_own_strategy(fused, variant):
    """Failed before: the control of `pairs` used the pairs of `cold_pairs`, with their users and weights."""
    own, coin = preferred(fused, variant), preferred(fused, VARIANTS[variant].control)
    assert len(own) == 3 * sum(user % 3 < 2 for user in range(N_USERS))
    assert own.users.tolist() == coin.users.tolist() and own.confidences.tolist() == coin.confidences.tolist()
    both = [np.sort([one.preferred, one.rejected], axis=0).tolist() for one in (own, coin)]
    assert both[0] == both[1]
    assert 0.25 < np.mean(own.preferred == coin.preferred) < 0.75
    assert (np.isin(own.preferred, catalogue_of("token").cold) == (variant == "cold_pairs")).all()
    assert read(fused, variant).items.tolist() == read(fused, "observed").items.tolist()


def test_no_training_set_depends_on_what_is_held_out(fused, tmp_path):
    """Not even a control's: with other held-out items of all users, every one is the same."""
    other = fused_in(tmp_path, [[item - 4 for item in later] for later in LATER])
    for variant in RECIPE.variants:
        for part in ("interactions", "preferences"):
            if not (fused / f"fused/{variant}/{part}").exists():
                continue
            one, two = (
                (ws / f"fused/{variant}/{part}").read_table().sort_by("user") for ws in (fused, other)
            )
            assert one.equals(two), f"{variant}, {part}"


def test_what_a_control_is_made_of_is_in_its_fingerprint(fused):
    """A changed ItemCF makes only the controls that use ItemCF again."""
    before = {name: read_manifest(fused / f"fused/{name}") for name in RECIPE.variants}
    fuse(Recipe.model_validate(RECIPE.model_dump() | {"recommenders": {"itemcf": {"recency": 0.5}}}), fused)
    after = {name: read_manifest(fused / f"fused/{name}") for name in RECIPE.variants}
    changed = {name for name in before if before[name]["fingerprint"] != after[name]["fingerprint"]}
    assert changed == {"id_list_itemcf", "insertion_itemcf"}
