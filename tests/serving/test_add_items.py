"""Items added to a workspace after training: its own part, its own version, and old answers as they were."""

import logging
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from longtail.command.status import status
from longtail.errors import InputError
from longtail.recipe import Recipe
from longtail.recommenders.models.new_items import exposure
from longtail.schema import ITEMS
from longtail.serving.add_items import add_items
from longtail.serving.answering.endpoint import Endpoint
from longtail.serving.versions.added_items import ADDED
from longtail.serving.versions.served_run import sources_of
from longtail.serving.versions.version_watch import Versions, marks
from longtail.workspace import Workspace, lost_files, read_manifest
from longtail.workspace.lease import FOLDER, Owner, session
from tests.serving.store import SERVING as FEW
from tests.serving.store import Told, ask, endpoint, evaluated, fit, ids, mapped, missing, snapshot

ALL = 12
"""More than the old and the new items are together: lists must not be too short for the share of new ones."""
SERVING = FEW.model_copy(update={"candidates": ALL})
RECIPE = Recipe(name="tiny", serving=SERVING)
HEADER = "item_id,title,genres\n"
NEW = HEADER + "n0,Fresh,War\nn1,New Title,Drama|War\nn2,,\n"
"""n2 has no text."""


@pytest.fixture
def ws(ws: Workspace) -> Workspace:
    """The store, with a recommender that reads texts; every place may be taken by new items."""
    fit(ws, "itemcf", text=1.0, cold_share=1.0)
    evaluated(ws, SERVING)
    return ws


def add(ws: Workspace, text: str = NEW, recipe: Recipe = RECIPE) -> None:
    file = Path(ws.root.path).parent / "new.csv"
    file.write_text(text)
    add_items(recipe, ws, str(file))


def new_ids(ws: Workspace) -> list[str]:
    items = (ws / ADDED / "items.parquet").read_table()
    assert items["item"].to_pylist() == list(range(8, 8 + len(items)))
    return items["item_id"].to_pylist()


def test_new_items_are_recommended_shown_filtered_and_taken(ws: Workspace) -> None:
    before = snapshot(ws, SERVING)
    add(ws)
    here = endpoint(ws, SERVING)
    assert here.version().items == 11 and here.snapshot.version != before.version
    found = ask(here, None, "i1", k=ALL)
    assert {"n0", "n1"} <= set(ids(found)) and "n2" not in ids(found)
    assert {item.item_id: item.title for item in found.items}["n1"] == "New Title"
    assert ids(ask(here, None, "i1", k=6, filter={"genres": ["War"]}))
    assert "n0" not in ids(ask(here, None, "i1", k=6, filter={"genres": ["Drama"]}))
    assert [one.item_id for one in here.titles("fre").items] == ["n0"]
    taken = ask(here, None, "n0", k=6)
    assert missing(taken).get("history") is None and "n0" not in ids(taken) and ids(taken)
    assert not missing(ask(here, None, "i1", "n2")).get("history"), "an item without text is known too"


def test_an_event_may_name_a_new_item(ws: Workspace) -> None:
    add(ws)
    here = endpoint(ws, SERVING, events=Told(u1=["n0"], u9=["n1"]))
    assert missing(ask(here, "u1")).get("history") is None and "n0" not in ids(ask(here, "u1", k=10))
    assert ids(ask(here, "u9")) and missing(ask(here, "u9")).get("user") is None


def test_reasons_may_be_new_items(ws: Workspace) -> None:
    """Nobody took it yet, so no pair of users is counted."""
    add(ws)
    found = ask(endpoint(ws, SERVING), None, "n0", "i1", k=6, explain=True)
    leaning = [one for item in found.items if item.why for one in item.why.leans_on if one.item_id == "n0"]
    assert leaning and all(one.observed_pairs == one.generated_pairs == 0 for one in leaning)


def test_old_items_keep_their_order_and_their_scores(ws: Workspace) -> None:
    before = snapshot(ws, SERVING)
    add(ws)
    for after in (snapshot(ws, SERVING), mapped(ws, SERVING)):
        own, grown = before.default.retriever.model, after.default.retriever.model
        np.testing.assert_array_equal(grown.score(own.seen, None)[:, :8], own.score(own.seen, None))
        users = np.arange(7)
        for row, old in zip(after.of_users(users).items, before.of_users(users).items, strict=True):
            kept = [item for item in row.tolist() if 0 <= item < 8]
            assert [item for item in old.tolist() if item in kept] == kept


def test_new_items_are_seen_no_more_than_the_recipe_says(ws: Workspace) -> None:
    fit(ws, "itemcf", text=1.0, cold_share=0.05)
    evaluated(ws, SERVING)
    full = snapshot(ws, SERVING).default.retriever.model.recommend(np.arange(6), 10)[0]
    add(ws)
    model = snapshot(ws, SERVING).default.retriever.model
    assert 0 < exposure(model, 8) <= max(0.05, (full < 0).mean())
    counts = read_manifest(ws / ADDED)["counts"]
    assert counts["share of places of discriminated/itemcf-0"] == pytest.approx(exposure(model, 8))
    assert (counts["items"], counts["without text"]) == (3, 1)
    assert counts["recommended by discriminated/itemcf-0"] == 2


def test_known_items_stay_and_are_counted(ws: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "longtail")
    add(ws, HEADER + "i3,Another title,War\nn0,Fresh,War\n")
    assert new_ids(ws) == ["n0"] and "1 items are known already" in caplog.text
    assert snapshot(ws, SERVING).items.title(3) == "Title 3"
    caplog.clear()
    add(ws, HEADER + "n0,Changed,War\nn3,Late,War\ni1,x,\n")
    assert new_ids(ws) == ["n0", "n3"], "items that were added before keep their codes"
    assert "2 items are known already" in caplog.text and snapshot(ws, SERVING).items.title(8) == "Fresh"
    fingerprint = read_manifest(ws / ADDED)["fingerprint"]
    caplog.clear()
    add(ws, HEADER + "n3,Late,War\n")
    assert "nothing is new" in caplog.text and read_manifest(ws / ADDED)["fingerprint"] == fingerprint


def test_nothing_new_at_all_publishes_nothing(ws: Workspace) -> None:
    version = snapshot(ws, SERVING).version
    add(ws, HEADER + "i1,x,\n")
    assert read_manifest(ws / ADDED) is None and snapshot(ws, SERVING).version == version


def test_what_cannot_be_recommended_is_said(ws: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    add(ws, NEW + "n4,Zzz,\n")
    assert "2 items cannot be recommended: 1 have no text" in caplog.text


def test_a_server_takes_them_without_a_restart(ws: Workspace) -> None:
    versions = Versions(lambda: mapped(ws, SERVING), lambda: marks(ws, SERVING))
    here, first = Endpoint(versions, SERVING, Told()), versions.current.version
    assert missing(ask(here, None, "n0"))["history"] == "unknown_items"
    add(ws)
    assert ask(here, None, "i1").model_version == first, "until it looks"
    versions.look()
    found = ask(here, None, "i1", k=ALL)
    assert found.model_version != first and "n0" in ids(found) and versions.state.refused is None
    add(ws, HEADER + "n5,Newest,War\n")
    versions.look()
    assert {"n0", "n5"} <= set(ids(ask(here, None, "i1", k=ALL)))


def test_other_parts_of_the_workspace_are_not_rewritten(ws: Workspace) -> None:
    before = {place: one["fingerprint"] for place, one in ws.manifests().items()}
    files = {file.path: file.read_bytes() for file in ws.root.files(".parquet")}
    add(ws)
    after = {place: one["fingerprint"] for place, one in ws.manifests().items()}
    assert {place: one for place, one in after.items() if place != ADDED} == before
    assert {
        file.path: file.read_bytes() for file in ws.root.files(".parquet") if ADDED not in file.path
    } == files
    assert ADDED in str(status(str(ws), 100).columns[0]._cells)


def test_a_fit_that_was_made_again_is_refused_until_they_are_added_again(ws: Workspace) -> None:
    add(ws)
    versions = Versions(lambda: mapped(ws, SERVING), lambda: marks(ws, SERVING))
    fit(ws, "itemcf", text=0.5, cold_share=1.0)
    evaluated(ws, SERVING)
    with pytest.raises(
        InputError, match="3 items were added to other fits than .* Run longtail add-items again"
    ):
        sources_of(ws, SERVING)
    versions.look()
    assert "other fits" in versions.state.refused and len(versions.current.items) == 11
    add(ws, HEADER + "i1,x,\n")
    assert new_ids(ws) == ["n0", "n1", "n2"]
    versions.look()
    assert versions.state.refused is None and len(versions.current.items) == 11


def prepared_anew(ws: Workspace, *more: str) -> None:
    """The data with more items, which nobody took, and a fit of them."""
    items = (ws / "data/items.parquet").read_table().to_pylist()
    histories = (ws / "data/histories").read_table()
    rows = [
        {"item": 8 + row, "item_id": one, "title": "Fresh", "train_count": 0, "attributes": []}
        for row, one in enumerate(more)
    ]
    with ws.stage("data", [*more]).publishing() as data:
        (data / "items.parquet").write_table(pa.Table.from_pylist(items + rows, ITEMS))
        (data / "histories/a.parquet").write_table(histories)
    fit(ws, "itemcf", text=1.0, cold_share=1.0)
    evaluated(ws, SERVING)


def test_a_catalogue_that_has_them_by_now_takes_their_place(
    ws: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "longtail")
    add(ws)
    prepared_anew(ws, "n2", "n1", "n0")
    here = snapshot(ws, SERVING)
    assert here.sources.added is None and len(here.items) == 11 and here.items.ids[8] == "n2"
    here.check()
    add(ws, HEADER + "n7,Fresh,War\n")
    items = (ws / ADDED / "items.parquet").read_table()
    assert (items["item"].to_pylist(), items["item_id"].to_pylist()) == ([11], ["n7"])
    assert "3 items that were added before are in the catalogue now" in caplog.text
    assert len(snapshot(ws, SERVING).items) == 12


def test_a_catalogue_that_lacks_some_of_them_is_refused(ws: Workspace) -> None:
    """They would vanish in silence."""
    add(ws)
    prepared_anew(ws, "n1")
    with pytest.raises(InputError, match="2 items were added to another catalogue .*'n0'"):
        sources_of(ws, SERVING)
    add(ws, HEADER + "n1,x,\n")
    assert len(snapshot(ws, SERVING).items) == 11 and snapshot(ws, SERVING).items.ids[8] == "n1"
    (ws / "added").delete()
    assert len(snapshot(ws, SERVING).items) == 9


def test_a_lost_file_is_refused(ws: Workspace) -> None:
    add(ws)
    (ws / ADDED / "similarities/0.parquet").delete()
    assert lost_files(ws / ADDED, read_manifest(ws / ADDED))
    with pytest.raises(InputError, match="similarities/0.parquet is missing.*longtail add-items"):
        sources_of(ws, SERVING)


def test_a_live_llm_is_not_told_of_items_that_it_has_no_word_for(ws: Workspace) -> None:
    class Live:
        def __init__(self) -> None:
            self.asked = []

        async def rank(self, history, k, made_of, left):
            self.asked.append(history.tolist())
            return np.array([4], np.int32), np.array([0.5], np.float32)

    add(ws)
    live = Live()
    here = endpoint(ws, live=live)
    ask(here, None, "i1", "n0", "i2")
    assert live.asked == [[1, 2]]
    ask(here, None, "n0")
    assert live.asked == [[1, 2]], "nothing is left to ask about"


@pytest.mark.parametrize(
    ("settings", "says"), [({"text": 0.0}, "recommenders.itemcf has text = 0.*serving.recommender")]
)
def test_what_is_served_must_read_texts(ws: Workspace, settings: dict, says: str) -> None:
    fit(ws, "itemcf", **settings)
    evaluated(ws, SERVING)
    with pytest.raises(InputError, match=says):
        add(ws)
    assert read_manifest(ws / ADDED) is None


def test_the_recipes_encoders_must_be_those_of_the_fit(ws: Workspace) -> None:
    with ws.stage("text/minilm", {}).publishing() as draft:
        (draft / "x").write_bytes(b"")
    recipe = Recipe(name="tiny", serving=SERVING, text={"encoders": ["tfidf", "minilm"]})
    with pytest.raises(InputError, match="text.encoders .* was fitted with other vectors"):
        add(ws, recipe=recipe)


def test_a_bad_file_is_refused_before_anything_is_written(ws: Workspace) -> None:
    before = [file.path for file in ws.root.files()]
    with pytest.raises(InputError, match="no column 'genres'"):
        add(ws, "item_id,title\nn0,Fresh\n")
    assert [file.path for file in ws.root.files()] == before


def test_one_command_at_a_time_adds(ws: Workspace) -> None:
    """Another machine adds items: this command says so, and what that one publishes is not lost."""
    other = replace(
        Owner.this_process(), process_space="elsewhere", host="other", command="longtail add-items"
    )
    (ws / FOLDER / f"{other.token}.json").write_json(asdict(other))
    with (
        session(),
        pytest.raises(InputError, match="`longtail add-items` of .* on other .* has been writing here"),
    ):
        add(ws)
    assert read_manifest(ws / ADDED) is None
    (ws / FOLDER / f"{other.token}.json").delete()
    with session():
        add(ws)
    assert new_ids(ws) == ["n0", "n1", "n2"]


def test_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="longtail prepare"):
        add_items(RECIPE, Workspace(str(tmp_path)), "new.csv")
