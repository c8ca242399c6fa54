"""A small evaluated workspace, written by hand, and what is asked of it."""

import asyncio
from pathlib import Path

import numpy as np
import pyarrow as pa

from longtail.aggregation.artefact import fit_aggregator
from longtail.aggregation.choice import FIGURES, Figure, Kind, write_figures
from longtail.aggregation.kinds import Paper
from longtail.data.item_words import item_words
from longtail.recipe import Recipe, Serving
from longtail.recommenders import build
from longtail.recommenders.interactions import Interactions
from longtail.registry import recommender_spec
from longtail.schema import FUSED, HISTORIES, ITEMS, RANKINGS
from longtail.serving.answering.endpoint import Endpoint
from longtail.serving.messages.answer_messages import Recommendation
from longtail.serving.messages.request_messages import RecommendRequest
from longtail.serving.versions.served_run import sources_of
from longtail.serving.versions.snapshot import Snapshot
from longtail.serving.versions.version_watch import Versions, marks
from longtail.text.item_texts import ItemTexts
from longtail.workspace import Workspace
from tests.aggregation.test_choice import figure

TRAIN = [[0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [3, 4, 5, 0, 1, 2], [5], [7], []]
"""Training items by user; item 6 is cold and nobody shares item 7."""
LATER = [[6], [6], [6], [6], [6], [6], [0]]
"""What each user took afterwards: the validation item."""
LISTED = {3: [7, 6], 0: [4, 6, 5, 7]}
"""The LLM's lists: it did not know that item 6 would be taken."""
SERVING = Serving(candidates=6, deadline_ms=60_000)
RECIPE = Recipe(name="tiny", serving=SERVING)


GENERATED = {0: [5], 4: [1]}
"""What the LLM generated for the training set of the recommender."""
GENRES = ["Drama", "Drama|War", "War", "Comedy", "Drama, Comedy", "War", "", "Comedy"]


def write_store(folder: Path) -> Workspace:
    """An evaluated workspace: one later item per user, LLM lists for users 0 and 3, two generated interactions."""
    ws = Workspace(str(folder))
    with ws.stage("data", {}).publishing() as data:
        counts = np.bincount(np.concatenate(TRAIN).astype(int), minlength=8)
        items = [
            {
                "item": item,
                "item_id": f"i{item}",
                "title": None if item == 2 else f"Title {item}",
                "train_count": count,
                "attributes": [("genres", GENRES[item])] if GENRES[item] else [],
            }
            for item, count in enumerate(counts.tolist())
        ]
        (data / "items.parquet").write_table(pa.Table.from_pylist(items[::-1], ITEMS))
        histories = [
            {
                "user": user,
                "user_id": f"u{user}",
                "items": [*items, *later],
                "train_end": len(items),
                "valid_end": len(items) + 1,
            }
            for user, (items, later) in enumerate(zip(TRAIN, LATER, strict=True))
        ]
        (data / "histories/b.parquet").write_table(pa.Table.from_pylist(histories[:2], HISTORIES))
        (data / "histories/a.parquet").write_table(pa.Table.from_pylist(histories[2:], HISTORIES))
    with ws.stage("augmentation/next_item", {}).publishing() as draft:
        ranked = [
            {"user": user, "items": items, "scores": np.linspace(0.9, 0.1, len(items)).tolist()}
            for user, items in LISTED.items()
        ]
        (draft / "rankings/a.parquet").write_table(pa.Table.from_pylist(ranked, RANKINGS))
    rows = []
    for user, own in enumerate(TRAIN):
        entries = own + GENERATED.get(user, [])
        rows.append({"user": user, "items": entries, "weights": [1.0] * len(entries), "observed": len(own)})
    table = pa.Table.from_pylist(rows, FUSED)
    with ws.stage("fused/discriminated", {}).publishing() as fused:
        (fused / "interactions/a.parquet").write_table(table)
    fit(ws, "itemcf", table)
    evaluated(ws)
    return ws


def fit(ws: Workspace, name: str, table: pa.Table | None = None, **settings) -> None:
    """Fit a recommender on the training set and publish it."""
    fused = ws / "fused/discriminated"
    if table is None:
        table = (fused / "interactions").read_table()
    section = recommender_spec(name).settings(**settings)
    catalogue = (ws / "data/items.parquet").read_table().sort_by("item")
    train = Interactions.from_table(table, len(catalogue), texts=lambda: ItemTexts(item_words(catalogue)))
    model = build(name, section).fit(train)
    inputs = [fused, ws / "data"]
    with ws.stage(f"recommenders/discriminated/{name}-0", settings, inputs).publishing() as draft:
        model.save(draft)


def evaluated(ws: Workspace, serving: Serving = SERVING, **fusion) -> None:
    """What `evaluate` leaves: the recommender alone, and better on validation fused with the LLM's list."""
    own = Paper(**{"alpha_1": 0.5, "alpha_2": 0.1} | fusion)
    fused = {"fusion": own, "kinds": {"paper": Kind(own, 0.2)}, "candidates": serving.candidates}
    figures = figure("itemcf", "discriminated", 0.1), figure("itemcf", "served_discriminated", 0.2, **fused)
    chosen_from(ws, *figures, serving=serving)


def chosen_from(ws: Workspace, *figures: Figure, serving: Serving = SERVING) -> None:
    """Publish figures, and what is chosen from them."""
    with ws.stage(FIGURES, [one.written() for one in figures]).publishing() as draft:
        write_figures([*figures], draft)
    fit_aggregator(RECIPE.model_copy(update={"serving": serving}), ws)


def snapshot(ws: Workspace, serving: Serving = SERVING) -> Snapshot:
    """In memory, without look-ups."""
    return Snapshot.read(ws, sources_of(ws, serving))


def mapped(ws: Workspace, serving: Serving = SERVING) -> Snapshot:
    """From the files of this node."""
    return Snapshot.load(ws, sources_of(ws, serving))


class Told:
    """Events by user id, in the place of the event log."""

    def __init__(self, **told: list[str]) -> None:
        self.told, self.answers = told, []

    def of(self, user_id: str) -> list[str]:
        return self.told.get(user_id, [])

    def served(self, answer: Recommendation) -> None:
        self.answers.append(answer)


def endpoint(ws: Workspace, serving: Serving = SERVING, events=None, live=None) -> Endpoint:
    """Over the mapped files, as a replica has it."""
    versions = Versions(lambda: mapped(ws, serving), lambda: marks(ws, serving))
    return Endpoint(versions, serving, events or Told(), live)


def ask(here: Endpoint, user_id: str | None = None, *history: str, **asked) -> Recommendation:
    """The answer to a user, a history or both."""
    request = RecommendRequest(user_id=user_id, history=[*history] or None, **asked)
    return asyncio.run(here.recommend(request))


def ids(found: Recommendation) -> list[str]:
    return [item.item_id for item in found.items]


def missing(found: Recommendation) -> dict[str, str]:
    """The reason of each part that is missing."""
    return {one.part: one.reason for one in found.degraded.parts} if found.degraded else {}
