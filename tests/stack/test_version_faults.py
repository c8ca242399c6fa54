"""Twenty versions published under load, two of them broken: no request fails, and no answer mixes versions.

Each version has another fit, so most users get other items. What a version answers is computed here, from the workspace.
"""

import threading
from collections.abc import Iterator
from dataclasses import replace

import httpx
import numpy as np
import pyarrow as pa
import pytest

from longtail.aggregation.artefact import AGGREGATOR, Artefact
from longtail.data import prepare
from longtail.evaluation import evaluate
from longtail.fusion import fuse
from longtail.recipe import Recipe, dump_recipe
from longtail.recommenders import build, train
from longtail.recommenders.models.itemcf import ItemCFSection
from longtail.recommenders.training.reading import read_observed
from longtail.schema import RANKINGS
from longtail.serving.versions.served_run import sources_of
from longtail.serving.versions.snapshot import Snapshot
from longtail.workspace import Workspace, read_manifest
from tests.stack.endpoints import served_here
from tests.stack.processes import wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]
RECIPE = Recipe.model_validate(
    {
        "name": "versions",
        "dataset": {"simulation": {"users": 200, "items": 100}},
        "variants": ["observed", "popular"],
        "recommenders": {"itemcf": {"variants": ["observed"]}},
        "evaluation": {"protocol": "train-only"},
        "serving": {"candidates": 20, "list": "next_item"},
    }
)
FIT = "recommenders/observed/itemcf-0"
K = 10
BROKEN = {7: "is missing or truncated", 13: "was published again"}
"""By number, what the refusal says: a file is cut off, or the fit is not the one that the artefact names."""
LAST = 20


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    ws = Workspace(str(tmp_path_factory.mktemp("versions")), RECIPE.model_dump(mode="json"))
    (ws / "recipe.yaml").write_bytes(dump_recipe(RECIPE).encode())
    prepare(RECIPE, ws)
    rng, items = np.random.default_rng(5), np.arange(read_manifest(ws / "data")["counts"]["items"])
    histories = (ws / "data/histories").read_table(["user", "items", "train_end"]).to_pylist()
    with ws.stage("augmentation/next_item", {}, [ws / "data"]).publishing() as draft:
        # As every list of augment, without what the user had taken when it was made.
        ranked = [
            {
                "user": row["user"],
                "items": rng.permutation(np.setdiff1d(items, row["items"][: row["train_end"]]))[:5],
                "scores": [0.9, 0.7, 0.5, 0.3, 0.1],
            }
            for row in histories
        ]
        (draft / "rankings/one.parquet").write_table(pa.Table.from_pylist(ranked, RANKINGS))
    for stage in (fuse, train, evaluate):
        stage(RECIPE, ws)
    return ws


@pytest.fixture(scope="module")
def address(ws: Workspace) -> Iterator[str]:
    with served_here(RECIPE, ws) as address:
        yield address


class Expected:
    """The items that each version gives each user, by its `model_version`."""

    def __init__(self, ws: Workspace) -> None:
        self.ws, self.items = ws, dict[str, dict[str, list[str]]]()

    def add(self) -> str:
        """The version that lies in the workspace now."""
        here = Snapshot.read(self.ws, sources_of(self.ws, RECIPE.serving))
        ids = [here.items.ids[code] for code in range(len(here.items))]
        ranked = here.of_users(np.arange(len(here.users))).items[:, :K]
        self.items[here.version] = {
            here.users.ids[user]: [ids[item] for item in row if item >= 0]
            for user, row in enumerate(ranked.tolist())
        }
        return here.version


def publish(ws: Workspace, number: int) -> None:
    """A version with another fit, as after `train` and `evaluate`; or a broken one."""
    says = BROKEN.get(number, "")
    model = build("itemcf", ItemCFSection(neighbours=2 + number)).fit(read_observed(ws / "data"))
    with ws.stage(FIT, number, [ws / "data"]).publishing() as draft:
        model.save(draft)
    fingerprint = "0" * 16 if "again" in says else read_manifest(ws / FIT)["fingerprint"]
    if "truncated" in says:
        largest = max((ws / FIT).files(".parquet"), key=lambda file: len(file.read_bytes()))
        largest.write_bytes(largest.read_bytes()[:-10])
    chosen = Artefact.read(ws / AGGREGATOR)
    with ws.stage(AGGREGATOR, number).publishing() as draft:
        replace(chosen, made_of=chosen.made_of | {FIT: fingerprint}).write(draft)


def test_twenty_versions_two_of_them_broken(ws: Workspace, address: str) -> None:
    expected, over = Expected(ws), threading.Event()
    wrong, given = list[str](), set[tuple[str, str, tuple[str, ...]]]()
    first = served = expected.add()
    answered = dict.fromkeys(range(4), 0)

    def ask(number: int) -> None:
        rng = np.random.default_rng(number)
        users = list(expected.items[first])
        with httpx.Client(base_url=address, timeout=60) as http:
            while not over.is_set():
                some = rng.choice(users, 3).tolist()
                told = http.post(
                    "/v1/recommend:batch", json={"requests": [{"user_id": user, "k": K} for user in some]}
                )
                if told.status_code != 200:
                    wrong.append(f"{told.status_code} {told.text[:200]}")
                    continue
                answers = told.json()["answers"]
                versions = {one["model_version"] for one in answers}
                if len(versions) != 1:
                    wrong.append(f"one batch of {versions}")
                for user, one in zip(some, answers, strict=True):
                    items = tuple(item["item_id"] for item in one["items"])
                    given.add((one["model_version"], user, items))
                answered[number] += 1

    askers = [threading.Thread(target=ask, args=(number,)) for number in answered]
    with httpx.Client(base_url=address, timeout=60) as http:
        for asker in askers:
            asker.start()
        try:
            for number in range(1, LAST + 1):
                publish(ws, number)
                if number in BROKEN:
                    says = BROKEN[number]
                    wait_for(lambda says=says: says in str(version(http)["refused"]), lambda: True, 120)
                    assert version(http)["model_version"] == served
                    continue
                served = expected.add()
                wait_for(lambda want=served: version(http)["model_version"] == want, lambda: True, 120)
                assert version(http)["refused"] is None
        finally:
            over.set()
            for asker in askers:
                asker.join()
        metrics = http.get("/metrics").text
    assert not wrong, wrong[:5]
    for named, user, items in given:
        assert items == tuple(expected.items[named][user])
    assert {named for named, _, _ in given} == set(expected.items)
    assert min(answered.values()) > 0 and len(expected.items) == LAST - len(BROKEN) + 1
    assert total(metrics, "longtail_version_swaps_total") == LAST - len(BROKEN)
    assert total(metrics, "longtail_version_refusals_total") >= len(BROKEN)
    assert total(metrics, "longtail_version_refused") == 0


def version(http: httpx.Client) -> dict:
    return http.get("/version").raise_for_status().json()


def total(metrics: str, name: str) -> float:
    """The sum over the replicas."""
    return sum(float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith(name + "{"))
