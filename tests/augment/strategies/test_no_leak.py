"""No prompt, outcome, list, training set or control depends on the held-out items of any user.

RecRankerEval (2507.05880, abstract) found ground truth in the pointwise prompts of RecRanker, Llama4Rec's sister method. So
these tests replace the held-out items of all users and compute everything again, the recommender and the similar users too.
Every byte must stay the same.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.augment.discriminate import finished
from longtail.augment.judge import judge, rankings, with_agreement
from longtail.augment.outcomes import BY_LIKELIHOOD
from longtail.augment.strategies.cold_pairs import ColdPairsSection
from longtail.augment.strategies.cold_users import ColdUsersSection
from longtail.augment.strategies.id_list import IdListSection
from longtail.augment.strategies.insertion import InsertionSection
from longtail.augment.strategies.item_tokens import rare_items
from longtail.augment.strategies.next_item import NextItemSection
from longtail.augment.strategies.pairs import PairsSection
from longtail.augment.strategies.ranking import RankingSection
from longtail.augment.strategies.screening import ScreeningSection
from longtail.augment.strategies.strategy import Strategy, requests
from longtail.augment.takers import read_takers
from longtail.data.catalogue import slice_codes
from longtail.fusion.chosen import choose, preferences
from longtail.fusion.controls import build_control
from longtail.fusion.fuse_stage import fused_rows
from longtail.llm.prompts.hints import Hints, build_hints
from longtail.recipe import Recipe
from longtail.recommenders import build
from longtail.recommenders.training.reading import observed_itemcf, read_observed
from longtail.registry import recommender_spec, strategies, strategy_spec
from longtail.schema import ACCEPTED, OUTCOMES
from longtail.text.text_source import TextSource
from longtail.variants import VARIANTS
from longtail.workspace import Workspace
from tests.augment.strategies.conftest import (
    COLD,
    N_ITEMS,
    RENDERINGS,
    answered,
    catalogue_of,
    hints_of,
    histories,
    listed,
    options,
    prompts_of,
    proposals,
    scored,
    store,
    strategy_of,
    written,
)

SECTIONS = {
    "next_item": NextItemSection(),
    "id_list": IdListSection(lists=2),
    "pairs": PairsSection(pairs=2),
    "pairs_top": PairsSection(pairs=2, choose="top"),
    "cold_pairs": ColdPairsSection(pairs=2),
    "likely_pairs": PairsSection(pairs=2, ask="likelihood"),
    "cold_pmi": ColdPairsSection(pairs=2, ask="pmi"),
    "cold_users": ColdUsersSection(per_item=2),
    "likely_users": ColdUsersSection(per_item=2, ask="likelihood"),
    "insertion": InsertionSection(candidates=5),
    "ranking": RankingSection(candidates=5),
    "pointwise": RankingSection(candidates=5, mode="pointwise"),
    "screening": ScreeningSection(),
}
RECIPE = Recipe.model_validate(
    {
        "name": "leak",
        "augment": [{"strategy": name} for name in strategies()],
        "generator": {"tasks": {"next_item": 1, "id_list": 1, "ranking": 1}},
        "discriminator": {"tasks": {"yes_no": 1, "preference": 1}},
        "judge": {"likelihood": 0.5, "agreement": 0.5, "yes_no": 0.0},
        "recommenders": {"itemcf": {}},
    }
)
HINTED = {"pairs_top", "ranking", "pointwise"}
LOGS = st.lists(
    st.lists(st.integers(0, COLD - 1), unique=True, min_size=1, max_size=6), min_size=2, max_size=6
)
every_strategy = pytest.mark.parametrize("rendering", RENDERINGS)
every_section = pytest.mark.parametrize("name", SECTIONS)


def later(train: list[list[int]], seed: int) -> list[list[int]]:
    """Two held-out items for each user that are not in the training history."""
    rng = np.random.default_rng(seed)
    return [rng.choice(np.setdiff1d(np.arange(N_ITEMS), own), 2, replace=False).tolist() for own in train]


def published(folder: Path, table: pa.Table) -> Workspace:
    """A workspace with data whose files also contain the held-out items."""
    ws = Workspace(str(folder))
    (ws / "data/histories/a.parquet").write_table(table)
    (ws / "data/items.parquet").write_table(store())
    return ws


def published_hints(table: pa.Table) -> Hints:
    """The recommender and the similar users, computed as in a run."""
    with TemporaryDirectory() as folder:
        return build_hints(published(Path(folder), table) / "data")


@every_strategy
@every_section
@settings(max_examples=12)
@given(train=LOGS, seeds=st.tuples(st.integers(0, 99), st.integers(100, 199)))
def test_other_held_out_items_of_all_users_change_no_byte_that_is_asked(name, rendering, train, seeds):
    asked = []
    for seed in seeds:
        table = histories(train, later(train, seed))
        hints = published_hints(table) if name in HINTED else None
        strategy = strategy_of(SECTIONS[name], rendering, hints, train=train)
        asked.append(requests(table, strategy, "salt", 7))
    assert asked[0].equals(asked[1])


@every_strategy
@every_section
@settings(max_examples=6)
@given(train=LOGS, seeds=st.tuples(st.integers(0, 99), st.integers(100, 199)), words=st.integers(0, 999))
def test_other_held_out_items_of_all_users_change_nothing_that_is_made(name, rendering, train, seeds, words):
    """Right guesses are among the answers. They get the same outcome as if they were wrong, and the lists, training sets and
    controls are the same.
    """
    guesses, made = [later(train, seed) for seed in seeds], []
    for held_out in guesses:
        with TemporaryDirectory() as folder:
            ws = published(Path(folder), histories(train, held_out))
            made.append(all_that_is_made(ws, name, rendering, guesses, words))
    assert made[0].keys() == made[1].keys()
    for part, table in made[0].items():
        assert table.equals(made[1][part]), part


def all_that_is_made(
    ws: Workspace, name: str, rendering: str, guesses: list[list[list[int]]], seed: int
) -> dict[str, pa.Table]:
    """What augment and fuse make of published data, by the name of the part. An engine says the same for equal seeds.

    guesses: by state of the data and user, the held-out items; a written list has those of all states.
    """
    data, section, rng = ws / "data", SECTIONS[name], np.random.default_rng(seed)
    table, n_users = (data / "histories").read_table(), len(guesses[0])
    found = read_takers(data, TextSource(data), 3)
    strategy = strategy_of(section, rendering, build_hints(data) if name in HINTED else None, takers=found)
    rows = requests(table, strategy, "salt", 7)
    words = [
        said(strategy, rendering, row, rng, [item for own in guesses for item in own[row["user"]]])
        for row in rows.to_pylist()
    ]
    read = answered(rows, words)
    drafts = read.append_column("proposals", strategy.read(read).column(len(read)))
    for cost in ("questions", "prompt_tokens", "output_tokens", "seconds"):
        drafts = drafts.append_column(cost, pa.array(np.ones(len(drafts), np.int32)))
    answers = finished(drafts, section.strategy).drop_columns("unheard")
    spec, rare = strategy_spec(section.strategy), rare_items(store())
    if spec.together:
        answers = strategy.together(answers)
    judged_by = spec.judge(section) if spec.judge else RECIPE.judge if spec.judged else None
    if judged_by:
        answers = judge(with_agreement(answers, observed_itemcf(data, RECIPE.itemcf)), judged_by, rare)
    made = {"answers": answers}
    if spec.ranks:
        made["rankings"] = rankings(answers, judged_by or BY_LIKELIHOOD, rare)
    place = ws / "answers"
    (place / "0.parquet").write_table(answers)
    for variant in VARIANTS.values():
        if section.strategy not in variant.sources or variant.fitted_on or variant.hits_removed:
            continue
        if variant.by == "sasrec":
            continue  # takes too long to train
        if variant.prefers:
            coin = 7 if variant.stand_in else None
            preferences(place, section.strategy, coin, ws / variant.name)
            made[variant.name] = (ws / variant.name).read_table()
            continue
        slices = slice_codes(store()["slice"])
        chosen = choose({section.strategy: place}, variant.name, RECIPE.judge, slices, n_users)
        fit = None
        if variant.stand_in == "judged":
            fit = ws / f"stand_ins/{variant.by}"
            build(variant.by, recommender_spec(variant.by).settings()).fit(read_observed(data)).save(fit)
        control = (
            build_control(RECIPE, variant.name, RECIPE.judge, data, store(), fit, chosen)
            if variant.stand_in
            else None
        )
        made[variant.name] = fused_rows(table, variant.name, 0.3, 7, chosen, control)
    return made


@every_strategy
@every_section
@settings(max_examples=25)
@given(train=LOGS, seed=st.integers(0, 999))
def test_whatever_is_answered_nothing_seen_is_accepted(name, rendering, train, seed):
    """Also, every proposal has one outcome, except those that are still open for a judge."""
    rng, guesses = np.random.default_rng(seed), later(train, seed)
    hints = hints_of(train) if name in HINTED else None
    strategy = strategy_of(SECTIONS[name], rendering, hints, train=train)
    rows = requests(histories(train, guesses), strategy, "salt", 7)
    words = [said(strategy, rendering, row, rng, guesses[row["user"]]) for row in rows.to_pylist()]
    found = proposals(strategy, answered(rows, words))
    spec = strategy_spec(SECTIONS[name].strategy)
    judged = spec.judged or spec.judge or spec.together
    for row, own in zip(rows.to_pylist(), found, strict=True):
        known = set() if name == "screening" else {*row["history"]}
        for proposal in own:
            assert proposal["outcome"] in (*OUTCOMES, None) and (judged or proposal["outcome"])
            if proposal["outcome"] in (ACCEPTED, None):
                assert proposal["item"] is not None
                assert not {proposal["item"], proposal["against"]} & known


def said(
    strategy: Strategy, rendering: str, row: dict, rng: np.random.Generator, guesses: list[int]
) -> list[dict] | None:
    """Random answers that an engine could give to the questions of a row. It rejects one row in eight.

    guesses: items that a written list has.
    """
    if rng.random() < 0.125:
        return None
    if strategy.sampling.scored:
        return [scored(prompt, strategy.sampling.scored, rng) for prompt in row["prompts"]]
    if not row["prompts"]:
        return []
    if strategy.sampling.top:
        tokens = rng.permutation(catalogue_of(rendering).tokens(np.arange(N_ITEMS)))
        return [options(tokens, np.sort(rng.dirichlet(np.ones(N_ITEMS)) + 1e-9)[::-1])]
    if row["options"]:
        chances = rng.dirichlet(np.ones(len(row["options"])), len(row["prompts"])) + 1e-9
        return [options(row["options"], one) for one in chances]
    items = [*rng.integers(N_ITEMS, size=8), *guesses, *row["shown"][:3]]
    tokens = listed(rendering, rng.permutation(items).tolist(), end=bool(rng.integers(2)))
    noise = rng.integers(len(prompts_of(rendering).tokenizer), size=2)
    return [written(np.insert(tokens, rng.integers(len(tokens), size=2), noise))]
