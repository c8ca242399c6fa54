"""Real Ray Serve over HTTP, after real stages. Only the lists of the LLM are written by the test."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pyarrow as pa
import pytest

from longtail.data import prepare
from longtail.errors import InputError
from longtail.evaluation import evaluate
from longtail.fusion import fuse
from longtail.recipe import Recipe, dump_recipe
from longtail.recommenders import train
from longtail.schema import RANKINGS
from longtail.serving import serve
from longtail.workspace import Workspace, read_manifest

RECIPE = Recipe.model_validate(
    {
        "name": "served",
        "dataset": {"simulation": {"users": 200, "items": 100}},
        "variants": ["observed", "popular"],
        "recommenders": {"itemcf": {"variants": ["observed"]}},
        "evaluation": {"protocol": "train-only"},
        "serving": {"candidates": 20},
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
    from ray import serve as ray_serve

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    serve(RECIPE, ws, port=port, block=False)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        yield client
    ray_serve.shutdown()


@pytest.fixture(scope="module")
def histories(ws: Workspace) -> list[dict]:
    """By user code: the user's id, the ids of the user's items, oldest first, and `listed`: whether the LLM has a list."""
    ids = (ws / "data/items.parquet").read_table(["item_id"])["item_id"].to_pylist()
    rows = (ws / "data/histories").read_table(["user", "user_id", "items"]).sort_by("user").to_pylist()
    ranked = set((ws / "augmentation/next_item/rankings").read_table(["user"])["user"].to_pylist())
    return [
        {"id": row["user_id"], "items": [ids[item] for item in row["items"]], "listed": row["user"] in ranked}
        for row in rows
    ]


@pytest.fixture(scope="module")
def items(ws: Workspace) -> list[str]:
    return (ws / "data/items.parquet").read_table(["item_id"])["item_id"].to_pylist()


def recommend(http: httpx.Client, **asked: object) -> dict:
    return http.post("/recommend", json=asked).raise_for_status().json()


def test_health_says_what_validation_chose(http: httpx.Client, ws: Workspace, histories: list[dict]) -> None:
    """The lists contain the validation items, so fusion with the lists is the best."""
    chosen = read_manifest(ws / "evaluation/served/itemcf-0")["counts"]["serving"]
    assert http.get("/healthz").json() == {
        "status": "ok",
        "recommender": "itemcf",
        "variant": "observed",
        "seed_index": 0,
        "list": "next_item",
        "fusion": chosen["fusion"],
        "validation_ndcg": chosen["validation_ndcg"],
        "chosen_by": "validation",
        "history": "asked",
        "users": 200,
        "items": 100,
        "users_with_llm_ranking": sum(user["listed"] for user in histories),
    }
    described = http.get("/openapi.json").json()
    assert set(described["paths"]) == {"/recommend", "/healthz"}
    assert described["components"]["schemas"]["RecommendRequest"]["examples"]


def test_nobody_is_offered_what_the_whole_history_has(http: httpx.Client, histories: list[dict]) -> None:
    """Not even if it is first in the LLM's list, as the two latest items of these users are."""
    for user in histories[:60]:
        found = recommend(http, user_id=user["id"], k=20)
        assert (found["user"], found["user_known"]) == (user["id"], True)
        assert found["interactions"] == len(user["items"])
        assert found["items"] and not {one["item_id"] for one in found["items"]} & set(user["items"])


def test_a_user_gets_both_lists(http: httpx.Client, histories: list[dict], items: list[str]) -> None:
    user = next(user for user in histories if user["listed"])
    found = recommend(http, user_id=user["id"], k=20)
    assert found["llm"] == "ranking" and 0 < found["alpha"] <= 1
    ranked = {item["item_id"]: item for item in found["items"]}
    assert ranked[items[99]]["llm_rank"] == 1, "the two before it were taken since"
    assert all(item["title"] for item in found["items"])
    assert sum(item["recommender_rank"] is not None for item in found["items"]) >= 18


def test_a_user_without_llm_list_and_a_history_get_the_recommender(
    http: httpx.Client, histories: list[dict], items: list[str]
) -> None:
    alone = recommend(http, user_id=next(user["id"] for user in histories if not user["listed"]))
    assert alone["llm"] == "none" and alone["alpha"] == 0 and len(alone["items"]) == 10
    adhoc = recommend(http, history=[items[0], "no such item", items[1]], k=5)
    assert adhoc["user"] is adhoc["user_known"] is None
    assert adhoc["llm"] == "none" and adhoc["unknown_items"] == ["no such item"]
    assert [item["recommender_rank"] for item in adhoc["items"]] == [1, 2, 3, 4, 5]
    assert not {items[0], items[1]} & {item["item_id"] for item in adhoc["items"]}


def test_somebody_unknown_gets_the_popular_list_and_is_told_so(http: httpx.Client, ws: Workspace) -> None:
    table = (ws / "data/items.parquet").read_table(["item_id", "train_count"])
    counts = dict(zip(*(table[name].to_pylist() for name in ("item_id", "train_count")), strict=True))
    found = recommend(http, user_id="nobody", k=5)
    assert (found["user"], found["user_known"]) == ("nobody", False)
    assert (found["recommender"], found["llm"], found["interactions"]) == ("popularity", "none", 0)
    assert [counts[one["item_id"]] for one in found["items"]] == sorted(counts.values(), reverse=True)[:5]


def test_many_at_once_are_answered_as_one_by_one(
    http: httpx.Client, histories: list[dict], items: list[str]
) -> None:
    """Requests are ranked in batches, and each user gets their own answer."""
    users = [user["id"] for user in histories[:40]]
    asked = [{"user_id": user, "k": 7} for user in users]
    asked += [{"history": [item], "k": 7} for item in items[:40]]
    one_by_one = [http.post("/recommend", json=request).json() for request in asked]
    with ThreadPoolExecutor(16) as pool:
        at_once = list(pool.map(lambda request: http.post("/recommend", json=request).json(), asked))
    assert at_once == one_by_one
    assert [answer["user"] for answer in at_once[:40]] == users


@pytest.mark.parametrize(
    ("status", "request_body", "says"),
    [
        (422, {"user_id": ""}, "user_id"),
        (422, {}, "either user_id or history"),
        (422, {"user_id": "a", "history": ["b"]}, "either user_id or history"),
        (422, {"history": []}, "history"),
        (422, {"history": ["no", "such"]}, "none of these items"),
        (422, {"history": ["a"] * 1001}, "history"),
        (422, {"history": [1]}, "history.0"),
        (422, {"user_id": 7}, "user_id"),
        (422, {"user_id": "a", "k": 0}, "k"),
        (422, {"user_id": "a", "k": 21}, "at most 20"),
        (422, {"user_id": "a", "k": 2.5}, "k"),
        (422, {"user_id": "a", "size": 3}, "size"),
        (422, [1, 2], "body"),
    ],
)
def test_bad_requests_say_what_is_wrong(
    http: httpx.Client, status: int, request_body: object, says: str
) -> None:
    answer = http.post("/recommend", json=request_body)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]


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
    answer = http.post("/recommend", content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text
    assert http.get("/healthz").status_code == 200


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
    with pytest.raises(InputError, match="'popular': nothing of the kind was evaluated"):
        call_user_app_builder_with_args_if_necessary(application, alone)
    with pytest.raises(InputError, match="there is no run here"):
        call_user_app_builder_with_args_if_necessary(application, {"workspace": str(ws / "nothing")})
