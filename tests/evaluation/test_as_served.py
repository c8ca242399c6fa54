"""What is served is what was measured: asked as the evaluation asks, the endpoint's ranking finds every target where the
report says it was.
"""

from itertools import product

import numpy as np
import pyarrow as pa
import pytest

from longtail.aggregation.artefact import fit_aggregator
from longtail.aggregation.choice import choose, read_figures
from longtail.aggregation.fused import Fused
from longtail.evaluation import evaluate
from longtail.evaluation.ranks import rank_targets
from longtail.recipe import Recipe, Serving
from longtail.recommenders import build
from longtail.recommenders.interactions import Interactions
from longtail.recommenders.training.fits import runs
from longtail.rounds import rounds
from longtail.schema import FUSED, NOTHING, RANKINGS
from longtail.serving.answering.answer import answered
from longtail.serving.messages.request_messages import RecommendRequest
from longtail.serving.versions.served_run import sources_of
from longtail.serving.versions.snapshot import Snapshot
from longtail.workspace import Workspace

N_USERS, N_ITEMS, DEPTH = 60, 30, 10
RECIPE = Recipe.model_validate(
    {
        "name": "measured",
        "variants": ["observed", "popular"],
        "recommenders": {
            "itemcf": {"recency": 0.7},
            "bpr": {"dim": 4, "epochs": 3, "variants": ["observed"]},
            "sasrec": {"dim": 4, "epochs": 2, "variants": ["observed"]},
        },
        "evaluation": {"ks": [DEPTH], "seeds": 2, "protocol": "train-only"},
        "serving": {"candidates": 8},
    }
)


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory, write_data) -> Workspace:
    """A store of two tastes, evaluated; one user has no list, and one took nothing before the validation item."""
    ws, rng = Workspace(str(tmp_path_factory.mktemp("measured"))), np.random.default_rng(3)
    histories = [
        (rng.permutation(15)[: rng.integers(5, 10)] + 15 * (user % 2)).tolist() for user in range(N_USERS)
    ]
    cuts = [(len(items) - 2, len(items) - 1) for items in histories]
    histories[4], cuts[4] = histories[4][:2], (0, 1)
    data = write_data(ws, histories, cuts, N_ITEMS)
    trained = [items[: cut[0]] for items, cut in zip(histories, cuts, strict=True)]
    for own, variant in product(rounds(RECIPE), RECIPE.variants):
        added = [[] if variant == "observed" or not own else [rng.integers(N_ITEMS)] for own in trained]
        rows = [
            {"user": user, "items": own + more, "weights": [1.0] * len(own + more), "observed": len(own)}
            for user, (own, more) in enumerate(zip(trained, added, strict=True))
        ]
        with ws.stage(own.at(f"fused/{variant}"), {}, [data]).publishing() as draft:
            table = pa.Table.from_pylist(rows, FUSED)
            (draft / "interactions/0.parquet").write_table(table)
        for run in runs(RECIPE, own):
            if run.variant == variant:
                section = RECIPE.recommenders[run.recommender]
                model = build(run.recommender, section, run.seed_index)
                model.fit(Interactions.from_table(table, N_ITEMS))
                with ws.stage(run.place, {}, [data]).publishing() as draft:
                    model.save(draft)
    for own in rounds(RECIPE):
        # The validation item among them, as an LLM that knows its users would have it.
        lists = [np.r_[rng.permutation(np.setdiff1d(range(N_ITEMS), own))[:4], own[-2]] for own in histories]
        rows = [
            {
                "user": user,
                "items": list(dict.fromkeys(items.tolist())),
                "scores": [0.5] * len({*items.tolist()}),
            }
            for user, items in enumerate(lists)
            if user != 3
        ]
        with ws.stage(own.at("augmentation/next_item"), {}, [data]).publishing() as draft:
            (draft / "rankings/0.parquet").write_table(pa.Table.from_pylist(rows, RANKINGS))
    evaluate(RECIPE, ws)
    return ws


def named(**changes) -> Serving:
    return RECIPE.serving.model_copy(update=changes)


def served(ws: Workspace, **changes) -> Snapshot:
    """What is served if the recipe names this."""
    fit_aggregator(RECIPE.model_copy(update={"serving": named(**changes)}), ws)
    return Snapshot.read(ws, sources_of(ws, named(**changes)))


def as_evaluated(here: Snapshot, user: int) -> list[int]:
    """What the endpoint answers to a user with exactly the training items. [] if popularity stood in."""
    known = here.items.ids.take(here.users.known(user))
    found = answered(RecommendRequest(user_id=f"u{user}", history=known, k=DEPTH), here)
    assert found.degraded is None and found.interactions == len(known)
    if found.recommender == "popularity":
        return []
    return here.items.ids.look_up([item.item_id for item in found.items]).tolist()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        *({"recommender": name} for name in ("itemcf", "bpr", "sasrec")),
        {"recommender": "itemcf", "variant": "popular"},
    ],
    ids=lambda changes: "-".join(changes.values()) or "best",
)
def test_every_target_is_served_where_the_report_has_it(ws: Workspace, changes: dict) -> None:
    here = served(ws, **changes)
    chosen = choose(read_figures(ws), named(**changes))
    folder = f"seed-{chosen.seed_index}/" if chosen.seed_index else ""
    place = f"{folder}evaluation/{chosen.variant}/{chosen.recommender}-{chosen.seed_index}"
    ranks = (ws / place / "ranks").read_table()
    users, items = ranks["user"].to_numpy(), ranks["item"].to_numpy()
    lists = np.full((len(users), DEPTH), NOTHING)
    for row, user in enumerate(users):
        answer = as_evaluated(here, user)
        lists[row, : len(answer)] = answer
    found = rank_targets(lists, np.arange(len(users)), items)
    assert found.tolist() == ranks["rank"].to_pylist()
    assert (found > 0).any() and len(users) == N_USERS


def test_the_best_on_validation_is_served_and_controls_are_not(ws: Workspace) -> None:
    figures = read_figures(ws)
    fits = 1 + 2 + 2 + 2  # no seed changes ItemCF on the observed log
    assert len(figures) == fits + 3 * 2 * 2, "each fit, and the observed ones with either list, of each seed"
    assert {one.variant for one in figures if one.control} == {"popular", "served_itemcf"}
    chosen = choose(figures, RECIPE.serving)
    assert chosen.variant == "served", "the lists know the validation items"
    named_too = choose(figures, named(recommender="itemcf", variant="popular"))
    assert named_too.control and named_too.list is None


def test_at_the_endpoint_nothing_is_offered_that_the_user_has(ws: Workspace) -> None:
    """Of those asked with the training items many were offered an item that they took since."""
    taken = (ws / "data/histories").read_table(["user", "items"]).sort_by("user")
    own = taken["items"].to_pylist()
    for name in ("itemcf", "bpr", "sasrec"):
        here = served(ws, recommender=name)
        before = [as_evaluated(here, user) for user in range(N_USERS)]
        assert any(set(row) & set(items) for row, items in zip(before, own, strict=True))
        for user in range(N_USERS):
            answer = answered(RecommendRequest(user_id=f"u{user}", k=8), here)
            assert answer.interactions == len(own[user])
            assert not {item.item_id for item in answer.items} & {f"i{item}" for item in own[user]}
            assert answer.items and answer.recommender == name


@pytest.mark.parametrize("name", ["itemcf", "bpr", "sasrec"])
def test_every_place_of_the_endpoint_is_that_of_the_evaluation(ws: Workspace, name: str) -> None:
    """Item by item and utility by utility, against the class that the evaluation ranks with."""
    here = served(ws, recommender=name, list="next_item")
    arm = here.default
    measured = Fused(arm.retriever.model, arm.lists, None, arm.chosen.candidates, arm.chosen.fusion)
    ranking = measured.ranked(np.arange(N_USERS), DEPTH)
    for user in range(N_USERS):
        items = ranking.items[user]
        if answer := as_evaluated(here, user):
            assert answer == items[items >= 0].tolist()
