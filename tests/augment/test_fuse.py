"""The stage fuse: the training set of every strategy, and its control, which copies everything but the LLM."""

import itertools

import numpy as np
import pytest

from longtail.data.catalogue import SLICES, slice_codes
from longtail.fusion.amounts import counted
from longtail.fusion.fuse_stage import fuse
from longtail.recipe import Recipe
from longtail.recommenders.interactions import Histories, Interactions, Preferences
from longtail.schema import ACCEPTED, NOT_CHOSEN, UNDECIDED
from longtail.variants import VARIANTS
from longtail.workspace import Workspace, read_manifest
from tests.augment.conftest import answers
from tests.augment.strategies.conftest import COLD, N_ITEMS, catalogue_of, histories, store

N_USERS = 40
LOG = [[(user + step) % 6 + 12 * (user % 2) for step in range(4)] for user in range(N_USERS)]
LATER = [[12 * (user % 2) + 10, 12 * (user % 2) + 11] for user in range(N_USERS)]
CONTROLS = {
    "id_list": "id_list_itemcf",
    "insertion": "insertion_itemcf",
    "pairs": "pairs_shuffled",
    "cold_pairs": "cold_pairs_shuffled",
}


def said(strategy: str) -> list[dict]:
    """Rows of answers. Every third user was not asked about, or has no usable answer."""
    rows = []
    for user in range(N_USERS):
        free = [item for item in range(COLD) if item not in LOG[user] + LATER[user]]
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
        rows.append({"request_id": f"{strategy}{user}", "user": user, "proposals": proposals})
    return rows


@pytest.fixture(scope="module")
def fused(tmp_path_factory, ray_here) -> tuple[Recipe, Workspace]:
    recipe = Recipe.model_validate(
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
    ws = Workspace(str(tmp_path_factory.mktemp("ws")))
    stage = ws.stage("data", {})
    with stage.publishing() as draft:
        (draft / "histories/a.parquet").write_table(histories(LOG, LATER))
        (draft / "items.parquet").write_table(store())
        stage.counts = {"users": N_USERS, "items": N_ITEMS}
    for name in CONTROLS:
        with ws.stage(f"augmentation/{name}", {}).publishing() as draft:
            (draft / "answers/a.parquet").write_table(answers(said(name)))
    fuse(recipe, ws)
    return recipe, ws


def read(ws: Workspace, variant: str) -> Interactions:
    return Interactions.from_table((ws / f"fused/{variant}/interactions").read_table(), N_ITEMS)


def added(train: Interactions) -> Histories:
    whole = [train.items[start:end] for start, end in itertools.pairwise(train.indptr)]
    return Histories.of(own[observed:] for own, observed in zip(whole, train.observed, strict=True))


def preferred(ws: Workspace, variant: str) -> Preferences:
    return Preferences.from_table((ws / f"fused/{variant}/preferences").read_table())


@pytest.mark.parametrize("variant", ["id_list", "insertion"])
def test_a_control_adds_as_many_of_each_slice_and_none_of_them_is_known_or_held_out(fused, variant):
    """ItemCF has few candidates in a store of two tastes: what it lacks is counted, by slice."""
    recipe, ws = fused
    own, control = read(ws, variant), read(ws, VARIANTS[variant].control)
    slices = slice_codes(store()["slice"])
    wanted, found = (counted(added(one), slices) for one in (own, control))
    assert (found <= wanted).all() and found.sum() > 0 and len(own.items) > sum(map(len, LOG))
    short = read_manifest(ws / f"fused/{VARIANTS[variant].control}")["counts"]["short"]
    assert short == dict(zip(SLICES, (wanted - found).sum(axis=0).tolist(), strict=True))
    assert set(control.weights.tolist()) == set(own.weights.tolist())
    for user in range(N_USERS):
        more = control.items[
            control.indptr[user] + control.observed[user] : control.indptr[user + 1]
        ].tolist()
        assert len(set(more)) == len(more) and not set(more) & {*LOG[user], *LATER[user]}
    if variant == "insertion":
        for user in np.flatnonzero((wanted == found).all(axis=1)):
            orders = [
                one.sequence[one.indptr[user] : one.indptr[user + 1]] - one.indptr[user]
                for one in (own, control)
            ]
            assert orders[0].tolist() == orders[1].tolist(), "at the same places"
    else:
        assert own.sequence is control.sequence is None


@pytest.mark.parametrize("variant", ["pairs", "cold_pairs"])
def test_a_coin_is_tossed_about_the_pairs_of_its_own_strategy(fused, variant):
    """Failed before: the control of `pairs` used the pairs of `cold_pairs`, with their users and weights."""
    _, ws = fused
    own, coin = preferred(ws, variant), preferred(ws, VARIANTS[variant].control)
    assert len(own) == 3 * sum(user % 3 < 2 for user in range(N_USERS))
    assert own.users.tolist() == coin.users.tolist() and own.confidences.tolist() == coin.confidences.tolist()
    both = [np.sort([one.preferred, one.rejected], axis=0).tolist() for one in (own, coin)]
    assert both[0] == both[1]
    assert 0.25 < np.mean(own.preferred == coin.preferred) < 0.75
    assert (np.isin(own.preferred, catalogue_of("token").cold) == (variant == "cold_pairs")).all()
    assert read(ws, variant).items.tolist() == read(ws, "observed").items.tolist()


def test_what_a_control_is_made_of_is_in_its_fingerprint(fused):
    """A changed ItemCF makes only the controls that use ItemCF again."""
    recipe, ws = fused
    before = {name: read_manifest(ws / f"fused/{name}") for name in recipe.variants}
    fuse(Recipe.model_validate(recipe.model_dump() | {"recommenders": {"itemcf": {"recency": 0.5}}}), ws)
    after = {name: read_manifest(ws / f"fused/{name}") for name in recipe.variants}
    changed = {name for name in before if before[name]["fingerprint"] != after[name]["fingerprint"]}
    assert changed == {"id_list_itemcf", "insertion_itemcf"}
