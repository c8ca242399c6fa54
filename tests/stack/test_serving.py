"""Real Ray Serve over HTTP, after real stages. Only the lists of the LLM are written by the test."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pyarrow as pa
import pytest

from longtail.aggregation.artefact import read_artefact
from longtail.data import prepare
from longtail.errors import InputError
from longtail.evaluation import evaluate
from longtail.fusion import fuse
from longtail.recipe import Recipe, dump_recipe
from longtail.recommenders import train
from longtail.schema import RANKINGS
from longtail.serving import serve
from longtail.workspace import Workspace
from tests.stack.endpoints import served_here

RECIPE = Recipe.model_validate(
    {
        "name": "served",
        "dataset": {"simulation": {"users": 200, "items": 100}},
        "variants": ["observed", "popular"],
        "recommenders": {"itemcf": {"variants": ["observed"]}},
        "evaluation": {"protocol": "train-only"},
        "serving": {"candidates": 20, "deadline_ms": 60_000},
    }
)


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    ws = Workspace(str(tmp_path_factory.mktemp("served")))
    (ws / "recipe.yaml").write_bytes(dump_recipe(RECIPE).encode())
    prepare(RECIPE, ws)
    histories = (ws / "data/histories").read_table(["user", "items", "train_end"]).to_pylist()
    with ws.stage("augmentation/next_item", {}, [ws / "data"]).publishing() as draft:
        # An LLM that knows the future: the validation item, the test item, then item 99, which these users lack.
        ranked = [
            {"user": row["user"], "items": [*row["items"][row["train_end"] :], 99], "scores": [0.9, 0.4, 0.1]}
            for row in histories
            if row["user"] % 2 == 0 and 99 not in row["items"] and len(row["items"]) == row["train_end"] + 2
        ]
        (draft / "rankings/one.parquet").write_table(pa.Table.from_pylist(ranked, RANKINGS))
    for stage in (fuse, train, evaluate):
        stage(RECIPE, ws)
    return ws


@pytest.fixture(scope="module")
def http(ws: Workspace) -> Iterator[httpx.Client]:
    with served_here(RECIPE, ws) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def histories(ws: Workspace) -> list[dict]:
    """By user code: the user's id, the ids of the user's items, oldest first, `train_end`: how many of them are known, and
    `listed`: whether the LLM has a list.
    """
    ids = (ws / "data/items.parquet").read_table(["item_id"])["item_id"].to_pylist()
    rows = (
        (ws / "data/histories")
        .read_table(["user", "user_id", "items", "train_end"])
        .sort_by("user")
        .to_pylist()
    )
    ranked = set((ws / "augmentation/next_item/rankings").read_table(["user"])["user"].to_pylist())
    return [
        {
            "id": row["user_id"],
            "items": [ids[item] for item in row["items"]],
            "train_end": row["train_end"],
            "listed": row["user"] in ranked,
        }
        for row in rows
    ]


@pytest.fixture(scope="module")
def items(ws: Workspace) -> list[str]:
    return (ws / "data/items.parquet").read_table(["item_id"])["item_id"].to_pylist()


def recommend(http: httpx.Client, **asked: object) -> dict:
    return http.post("/v1/recommend", json=asked).raise_for_status().json()


def missing(answer: dict) -> dict[str, str]:
    parts = answer["degraded"]["parts"] if answer["degraded"] else []
    return {part["part"]: part["reason"] for part in parts}


def test_it_says_what_validation_chose(http: httpx.Client, ws: Workspace, histories: list[dict]) -> None:
    """The lists contain the validation items, so fusion with the lists is the best."""
    artefact = read_artefact(ws)
    version = http.get("/version").json()
    (arm,) = version["arms"]
    assert arm == {
        "arm": "default",
        "recommender": "itemcf",
        "variant": "observed",
        "seed_index": 0,
        "list": "next_item",
        "fusion": json.loads(json.dumps(artefact.fusion.told())),
        "history": "asked",
    }
    assert (version["model_version"], version["refused"]) == (artefact.version, None)
    assert (version["users"], version["items"], version["deadline_ms"]) == (200, 100, 60_000)
    assert version["users_with_llm_list"] == sum(user["listed"] for user in histories)
    assert http.get("/readyz").json() == {"status": "ready", "model_version": artefact.version}
    assert http.get("/livez").status_code == 200
    described = http.get("/openapi.json").json()
    assert {"/v1/recommend", "/v1/recommend:batch", "/v1/events", "/version"} <= set(described["paths"])


def test_it_answers_what_the_evaluation_measured(
    http: httpx.Client, ws: Workspace, histories: list[dict], items: list[str]
) -> None:
    """Asked with the history that the evaluation used, every test item stands where the report says."""
    ranks = (ws / "evaluation/served/itemcf-0/ranks").read_table().to_pylist()
    assert len(ranks) > 100
    for row in ranks:
        user = histories[row["user"]]
        found = recommend(http, user_id=user["id"], history=user["items"][: user["train_end"]], k=100)
        places = {one["item_id"]: place for place, one in enumerate(found["items"], start=1)}
        place = places.get(items[row["item"]], 0)
        assert (place if place <= max(RECIPE.evaluation.ks) else 0) == row["rank"]
        assert found["degraded"] is None and bool(found["list"]) == user["listed"]


def test_nobody_is_offered_what_the_whole_history_has(http: httpx.Client, histories: list[dict]) -> None:
    """Not even if it is first in the LLM's list, as the two latest items of these users are."""
    for user in histories[:60]:
        found = recommend(http, user_id=user["id"], k=20)
        assert (found["user"], found["user_known"]) == (user["id"], True)
        assert found["interactions"] == len(user["items"])
        assert missing(found) == ({"llm": "moved_on"} if user["listed"] else {})
        assert found["items"] and not {one["item_id"] for one in found["items"]} & set(user["items"])


def test_a_user_gets_both_lists(http: httpx.Client, histories: list[dict], items: list[str]) -> None:
    user = next(user for user in histories if user["listed"])
    found = recommend(http, user_id=user["id"], k=20, explain=True)
    assert found["list"] == "next_item" and 0 < found["alpha"] <= 1
    ranked = {item["item_id"]: item for item in found["items"]}
    assert ranked[items[99]]["llm_rank"] == 1, "the two before it were taken since"
    assert all(item["title"] for item in found["items"])
    assert sum(item["recommender_rank"] is not None for item in found["items"]) >= 18
    for item in found["items"]:
        leaning = {one["item_id"] for one in item["why"]["leans_on"]}
        assert leaning <= set(user["items"]) and bool(leaning) == (item["recommender_rank"] is not None)


def test_a_history_and_somebody_unknown(http: httpx.Client, ws: Workspace, items: list[str]) -> None:
    adhoc = recommend(http, history=[items[0], "no such item", items[1]], k=5)
    assert adhoc["user"] is adhoc["user_known"] is None
    assert missing(adhoc) == {"history": "unknown_items", "llm": "not_live"}
    assert [item["recommender_rank"] for item in adhoc["items"]] == [1, 2, 3, 4, 5]
    assert not {items[0], items[1]} & {item["item_id"] for item in adhoc["items"]}
    table = (ws / "data/items.parquet").read_table(["item_id", "train_count"])
    counts = dict(zip(*(table[name].to_pylist() for name in ("item_id", "train_count")), strict=True))
    found = recommend(http, user_id="nobody", k=5)
    assert (found["recommender"], found["interactions"]) == ("popularity", 0)
    assert missing(found) == {"user": "unknown_user"}
    assert [counts[one["item_id"]] for one in found["items"]] == sorted(counts.values(), reverse=True)[:5]


def test_many_at_once_are_answered_as_one_by_one(
    http: httpx.Client, histories: list[dict], items: list[str]
) -> None:
    """Histories are ranked in one pass, and each gets its own answer; so do those of a batch."""
    users = [user["id"] for user in histories[:40]]
    asked = [{"user_id": user, "k": 7} for user in users]
    asked += [{"history": [item], "k": 7} for item in items[:40]]
    one_by_one = [recommend(http, **request)["items"] for request in asked]
    with ThreadPoolExecutor(16) as pool:
        at_once = list(pool.map(lambda request: recommend(http, **request), asked))
    assert [answer["items"] for answer in at_once] == one_by_one
    assert [answer["user"] for answer in at_once[:40]] == users
    batch = http.post("/v1/recommend:batch", json={"requests": asked}).raise_for_status().json()
    assert [answer["items"] for answer in batch["answers"]] == one_by_one


@pytest.mark.parametrize(
    ("status", "request_body", "pointer"),
    [
        (422, {"user_id": ""}, "/user_id"),
        (422, {}, ""),
        (422, {"history": ["a"] * 5001}, "/history"),
        (422, {"history": [1]}, "/history/0"),
        (422, {"user_id": 7}, "/user_id"),
        (422, {"user_id": "a", "k": 0}, "/k"),
        (422, {"user_id": "a", "k": 101}, "/k"),
        (422, {"user_id": "a", "k": 2.5}, "/k"),
        (422, {"user_id": "a", "deadline_ms": 0}, "/deadline_ms"),
        (422, {"user_id": "a", "size": 3}, "/size"),
        (409, {"user_id": "a", "filter": {"categories": ["x"]}}, "/filter/categories"),
        (422, [1, 2], ""),
    ],
)
def test_bad_requests_say_what_is_wrong(
    http: httpx.Client, status: int, request_body: object, pointer: str
) -> None:
    answer = http.post("/v1/recommend", json=request_body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert pointer in [fault["pointer"] for fault in answer.json()["faults"]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"\xff\xfe",
        b'{"k": NaN, "user_id": "a"}',
        b'{"k": 1e999, "user_id": "a"}',
        b'{"user_id": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"history": ["\\ud800"]}',
        b"[" * 100_000,
        json.dumps({"user_id": "x" * 1_000_000}).encode(),
    ],
)
def test_no_body_breaks_the_server(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/v1/recommend", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text
    assert http.get("/livez").status_code == 200


def test_faults_before_serving(ws: Workspace, tmp_path_factory: pytest.TempPathFactory) -> None:
    without = Workspace(str(tmp_path_factory.mktemp("unevaluated")))
    (without / "data").upload(f"{ws}/data")
    with pytest.raises(InputError, match="longtail evaluate"):
        serve(RECIPE, without)
    with pytest.raises(InputError, match="longtail prepare"):
        serve(RECIPE, Workspace(str(tmp_path_factory.mktemp("empty"))))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="--port"):
            serve(RECIPE, ws, port=taken.getsockname()[1])


def test_the_config_file_route(ws: Workspace) -> None:
    """As `serve build` and KubeRay do it: import the path and call it with the arguments of the config."""
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
    from ray.serve.deployment import Application

    from longtail.serving.application import application

    built = call_user_app_builder_with_args_if_necessary(application, {"workspace": str(ws)})
    assert isinstance(built, Application)
    alone = {"workspace": str(ws), "serving": {"recommender": "itemcf", "variant": "popular"}}
    with pytest.raises(
        InputError, match="serving.variant = 'popular': the aggregator was fitted with 'observed'"
    ):
        call_user_app_builder_with_args_if_necessary(application, alone)
    with pytest.raises(InputError, match="there is no run here"):
        call_user_app_builder_with_args_if_necessary(application, {"workspace": str(ws / "nothing")})
