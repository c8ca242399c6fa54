"""No prompt of any strategy depends on the held-out items of any user, and no held-out item is ever accepted.

RecRankerEval (2507.05880, abstract) found ground truth in the pointwise prompts of RecRanker, Llama4Rec's sister method. So
these tests replace the held-out items of all users and compute the recommender and the similar users again. Every byte of
every prompt must stay the same.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longtail.augment.strategies.cold_pairs import ColdPairsSection
from longtail.augment.strategies.id_list import IdListSection
from longtail.augment.strategies.insertion import InsertionSection
from longtail.augment.strategies.next_item import NextItemSection
from longtail.augment.strategies.pairs import PairsSection
from longtail.augment.strategies.ranking import RankingSection
from longtail.augment.strategies.screening import ScreeningSection
from longtail.augment.strategies.strategy import Strategy, requests
from longtail.llm.prompts.hints import Hints, build_hints
from longtail.registry import strategy_spec
from longtail.schema import ACCEPTED, OUTCOMES
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
    "insertion": InsertionSection(candidates=5),
    "ranking": RankingSection(candidates=5),
    "pointwise": RankingSection(candidates=5, mode="pointwise"),
    "screening": ScreeningSection(),
}
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


def published_hints(table: pa.Table) -> Hints:
    """The recommender and the similar users, computed as in a run: from files that also contain the held-out items."""
    with TemporaryDirectory() as folder:
        data = Workspace(str(Path(folder))) / "data"
        (data / "histories/a.parquet").write_table(table)
        (data / "items.parquet").write_table(store())
        return build_hints(data)


@every_strategy
@every_section
@settings(max_examples=12)
@given(train=LOGS, seeds=st.tuples(st.integers(0, 99), st.integers(100, 199)))
def test_other_held_out_items_of_all_users_change_no_byte_that_is_asked(name, rendering, train, seeds):
    asked = []
    for seed in seeds:
        table = histories(train, later(train, seed))
        hints = published_hints(table) if name in HINTED else None
        strategy = strategy_of(SECTIONS[name], rendering, hints)
        asked.append(requests(table, strategy, "salt", 7))
    assert asked[0].drop_columns("held_out").equals(asked[1].drop_columns("held_out"))


@every_strategy
@every_section
@settings(max_examples=25)
@given(train=LOGS, seed=st.integers(0, 999))
def test_whatever_is_answered_nothing_held_out_or_seen_is_accepted(name, rendering, train, seed):
    """Also, every proposal has one outcome, except those that are still open for a judge."""
    rng, held_out = np.random.default_rng(seed), later(train, seed)
    strategy = strategy_of(SECTIONS[name], rendering, hints_of(train) if name in HINTED else None)
    rows = requests(histories(train, held_out), strategy, "salt", 7)
    found = proposals(
        strategy, answered(rows, [said(strategy, rendering, row, rng) for row in rows.to_pylist()])
    )
    spec = strategy_spec(SECTIONS[name].strategy)
    judged = spec.judged or spec.judge
    for row, own in zip(rows.to_pylist(), found, strict=True):
        known = {*row["held_out"]} if name == "screening" else {*row["held_out"], *row["history"]}
        for proposal in own:
            assert proposal["outcome"] in (*OUTCOMES, None) and (judged or proposal["outcome"])
            if proposal["outcome"] in (ACCEPTED, None):
                assert proposal["item"] is not None
                assert not {proposal["item"], proposal["against"]} & known


def said(strategy: Strategy, rendering: str, row: dict, rng: np.random.Generator) -> list[dict] | None:
    """Random answers that an engine could give to the questions of a row. It rejects one row in eight."""
    if rng.random() < 0.125:
        return None
    if strategy.sampling.top:
        tokens = rng.permutation(catalogue_of(rendering).tokens(np.arange(N_ITEMS)))
        return [options(tokens, np.sort(rng.dirichlet(np.ones(N_ITEMS)) + 1e-9)[::-1])]
    if row["options"]:
        chances = rng.dirichlet(np.ones(len(row["options"])), len(row["prompts"])) + 1e-9
        return [options(row["options"], one) for one in chances]
    items = [*rng.integers(N_ITEMS, size=8), *row["held_out"], *row["shown"][:3]]
    tokens = listed(rendering, rng.permutation(items).tolist(), end=bool(rng.integers(2)))
    noise = rng.integers(len(prompts_of(rendering).tokenizer), size=2)
    return [written(np.insert(tokens, rng.integers(len(tokens), size=2), noise))]
