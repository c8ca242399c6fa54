"""A small data set to ask about, and hand-made answers of an engine, so that no LLM is needed."""

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from longtail.augment.strategies.item_tokens import Catalogue
from longtail.augment.strategies.solved_pairs import SolvedPair
from longtail.augment.strategies.spec import Tools
from longtail.augment.strategies.strategy import Strategy, requests
from longtail.augment.takers import Takers
from longtail.augment.takers import takers as find_takers
from longtail.data.item_words import item_words
from longtail.llm.prompts.building import Prompts
from longtail.llm.prompts.hints import Hints
from longtail.llm.small_llama import build_tokenizer
from longtail.recipe import Generator, StrategySection, Tuning
from longtail.recommenders.interactions import Histories
from longtail.recommenders.models.itemcf import ItemCF, ItemCFSection
from longtail.registry import strategy_spec
from longtail.schema import ANSWER, HISTORIES, ITEMS
from longtail.text.item_texts import ItemTexts
from longtail.text.text_similarity import TextSimilarity
from tests.recommenders.conftest import interactions

N_ITEMS, COLD = 30, 24
"""Items from code COLD on are cold, those before them warm."""
RENDERINGS = ("token", "title", "id")
NAMES = ("Oak chair", "Pine desk", "Wool rug", "Glass lamp", "Steel shelf", "Clay pot")
SOLVED = [SolvedPair(np.array([2, 3], np.int32), 4, 9), SolvedPair(np.array([6], np.int32), 7, 1)]
"""Solved questions about other users."""
LOG = [[0, 1, 2], [0, 1, 5, 6, 7, 8], [1, 5, 6, 9], [1, 5, 2, 7]]
SLICES = ["head"] * 4 + ["mid"] * 8 + ["tail"] * 12 + ["cold"] * 6


@cache
def store() -> pa.Table:
    rows = [
        {
            "item": code,
            "item_id": f"sku-{code}",
            "title": f"{NAMES[code % 6]} {code}",
            "attributes": [],
            "train_count": max(0, COLD - code),
            "slice": SLICES[code],
        }
        for code in range(N_ITEMS)
    ]
    return pa.Table.from_pylist(rows, ITEMS)


@cache
def prompts_of(rendering: str, context: int = 500, history: int = 6) -> Prompts:
    return Prompts(build_tokenizer(store(), rendering), store(), rendering, history, context)


@cache
def catalogue_of(rendering: str) -> Catalogue:
    return Catalogue(store(), rendering, prompts_of(rendering).tokenizer)


def hints_of(train: list[list[int]]) -> Hints:
    """The hints of `build_hints` from these training histories."""
    log = interactions(train, N_ITEMS)
    similarity = ItemCF("itemcf", ItemCFSection()).fit(log).similarity
    return Hints(log.indptr, log.items, log.matrix.T.tocsr(), similarity)


def takers_of(train: list[list[int]], count: int) -> Takers:
    """The users of cold items by the words of the store."""
    similarity = TextSimilarity(ItemTexts(item_words(store())))
    return find_takers(similarity, Histories.of(train), catalogue_of("title").cold, count)


def strategy_of(
    section: StrategySection,
    rendering: str,
    hints: Hints | None = None,
    prompts: Prompts | None = None,
    tuning: Tuning | None = None,
    train: list[list[int]] | None = None,
    takers: Takers | None = None,
) -> Strategy:
    """Built as in a run, but without a workspace. takers: the users of cold items, by default those in the log `train`."""
    tools = Tools(
        prompts or prompts_of(rendering),
        catalogue_of(rendering),
        lambda recommender: lambda: hints,
        tuning or Generator(),
        lambda count: lambda: takers or takers_of(train or LOG, count),
        lambda count: SOLVED[:count],
    )
    return strategy_spec(section.strategy).build(section, tools)


def histories(train: list[list[int]], held_out: list[list[int]]) -> pa.Table:
    """Rows of `schema.HISTORIES`, one per user; the last held-out item is the test item."""
    rows = [
        {
            "user": user,
            "user_id": str(user),
            "items": own + later,
            "timestamps": list(range(len(own + later))),
            "train_end": len(own),
            "valid_end": max(len(own), len(own + later) - 1),
            "slice": "sparse",
        }
        for user, (own, later) in enumerate(zip(train, held_out, strict=True))
    ]
    return pa.Table.from_pylist(rows, HISTORIES)


def asked(strategy: Strategy, train: list[list[int]], held_out: list[list[int]] | None = None) -> pa.Table:
    """Rows of `schema.REQUESTS`; by default nothing is held out."""
    return requests(histories(train, held_out or [[] for _ in train]), strategy, "salt", 7)


def options(tokens: Any, probabilities: Any) -> dict[str, list[Any]]:
    """An answer of one token, with the log-probabilities of options."""
    logprobs = np.log(np.asarray(probabilities, np.float64)).tolist()
    return {
        "written": [0],
        "written_logprobs": [-1.0],
        "options": [*map(int, tokens)],
        "option_logprobs": logprobs,
    }


def written(tokens: Any, probability: float = 0.5) -> dict[str, list[Any]]:
    """An answer of several tokens, equally probable."""
    logprobs = [float(np.log(probability))] * len(tokens)
    return {
        "written": [*map(int, tokens)],
        "written_logprobs": logprobs,
        "options": [],
        "option_logprobs": [],
    }


def scored(prompt: Any, last: int, rng: np.random.Generator) -> dict[str, list[Any]]:
    """What an engine says of the last tokens of a prompt; nothing comes before the first one."""
    tokens = list(prompt)[max(1, len(prompt) - last) :]
    logprobs = np.log(rng.uniform(0.01, 0.9, len(tokens))).tolist()
    return {"written": tokens, "written_logprobs": logprobs, "options": [], "option_logprobs": []}


def listed(rendering: str, items: list[int], end: bool = True) -> np.ndarray:
    """The tokens that an LLM writes for a list of items."""
    prompts = prompts_of(rendering)
    pieces = [prompts.items.of(item) for item in items]
    return np.concatenate([*pieces, [prompts.end] if end else []]).astype(np.int32)


def answered(rows: pa.Table, said: list[list[dict[str, list[Any]]] | None]) -> pa.Table:
    """Requests with the answers of an engine to each of their prompts. None: the engine rejects the row."""
    columns = {
        "answers": pa.array([own or [] for own in said], pa.list_(ANSWER)),
        "error": pa.array(["rejected" if own is None else None for own in said], pa.string()),
    }
    table = rows.drop_columns(["prompts", "options"])
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def proposals(strategy: Strategy, answers: pa.Table) -> list[list[dict[str, Any]]]:
    """The proposals that a strategy reads, row by row, as the pipeline stores them."""
    column = strategy.read(answers).column(len(answers))
    column.validate(full=True)
    return column.to_pylist()
