"""Real Ray Serve over HTTP, over stages that ran for real; only the lists of the LLM are written here."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pyarrow as pa
import pytest

from app.augment import fuse
from app.data import prepare
from app.errors import InputError
from app.recipe import Recipe, dump_recipe
from app.recommenders import train
from app.schema import RANKINGS
from app.serving import serve
from app.workspace import Workspace

RECIPE = Recipe.model_validate(
    {
        "name": "served",
        "dataset": {"simulation": {"users": 200, "items": 100}},
        "variants": ["observed"],
        "recommenders": {"itemcf": {}},
        "serving": {"recommender": "itemcf", "variant": "observed", "candidates": 20},
    }
)


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    ws = Workspace(str(tmp_path_factory.mktemp("served")))
    (ws / "recipe.yaml").write_bytes(dump_recipe(RECIPE).encode())
    for stage in (prepare, fuse, train):
        stage(RECIPE, ws)
    with ws.stage("augmentation/next_item", {}, [ws / "data"]).publishing() as draft:
        ranked = [{"user": user, "items": [99, 98], "scores": [0.9, 0.4]} for user in range(0, 200, 2)]
        (draft / "rankings/one.parquet").write_table(pa.Table.from_pylist(ranked, RANKINGS))
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
def users(ws: Workspace) -> list[str]:
    """User ids by code; even codes have an LLM list."""
    return (ws / "data/histories").read_table(["user", "user_id"]).sort_by("user")["user_id"].to_pylist()


@pytest.fixture(scope="module")
def items(ws: Workspace) -> list[str]:
    return (ws / "data/items.parquet").read_table(["item_id"])["item_id"].to_pylist()


def test_health_and_description(http: httpx.Client) -> None:
    health = http.get("/healthz").json()
    assert health == {
        "status": "ok",
        "recommender": "itemcf",
        "users": 200,
        "items": 100,
        "users_with_llm_ranking": 100,
    }
    described = http.get("/openapi.json").json()
    assert set(described["paths"]) == {"/recommend", "/healthz"}
    assert described["components"]["schemas"]["RecommendRequest"]["examples"]


def test_a_user_gets_both_lists(http: httpx.Client, users: list[str], items: list[str]) -> None:
    found = http.post("/recommend", json={"user_id": users[0], "k": 20}).raise_for_status().json()
    assert found["user"] == users[0] and found["llm"] == "ranking"
    assert RECIPE.serving.alpha_1 * RECIPE.serving.alpha_2 <= found["alpha"] <= RECIPE.serving.alpha_1
    assert len(found["items"]) == 20
    ranked = {item["item_id"]: item for item in found["items"]}
    first = ranked.get(items[99])
    assert first is None or first["llm_rank"] == 1
    assert all(item["title"] for item in found["items"])
    assert sum(item["recommender_rank"] is not None for item in found["items"]) >= 18


def test_a_user_without_llm_list_and_a_history_get_the_recommender(
    http: httpx.Client, users: list[str], items: list[str]
) -> None:
    alone = http.post("/recommend", json={"user_id": users[1]}).raise_for_status().json()
    assert alone["llm"] == "none" and alone["alpha"] == 0 and len(alone["items"]) == 10
    asked = {"history": [items[0], "no such item", items[1]], "k": 5}
    adhoc = http.post("/recommend", json=asked).raise_for_status().json()
    assert adhoc["user"] is None and adhoc["llm"] == "none" and adhoc["unknown_items"] == ["no such item"]
    assert [item["recommender_rank"] for item in adhoc["items"]] == [1, 2, 3, 4, 5]
    assert not {items[0], items[1]} & {item["item_id"] for item in adhoc["items"]}


def test_many_at_once_are_answered_as_one_by_one(
    http: httpx.Client, users: list[str], items: list[str]
) -> None:
    """Requests are ranked in batches; nobody gets another's answer."""
    asked = [{"user_id": user, "k": 7} for user in users[:40]]
    asked += [{"history": [item], "k": 7} for item in items[:40]]
    one_by_one = [http.post("/recommend", json=request).json() for request in asked]
    with ThreadPoolExecutor(16) as pool:
        at_once = list(pool.map(lambda request: http.post("/recommend", json=request).json(), asked))
    assert at_once == one_by_one
    assert [answer["user"] for answer in at_once[:40]] == users[:40]


@pytest.mark.parametrize(
    ("status", "request_body", "says"),
    [
        (404, {"user_id": "nobody"}, "nobody"),
        (404, {"user_id": ""}, "no user"),
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
    with pytest.raises(InputError, match="longtail prepare"):
        serve(RECIPE, Workspace(str(tmp_path_factory.mktemp("empty"))))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="--port"):
            serve(RECIPE, ws, port=taken.getsockname()[1])


def test_the_config_file_route(ws: Workspace) -> None:
    """What `serve build` and KubeRay do: import the path, call it with the arguments of the config."""
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
    from ray.serve.deployment import Application

    from app.serving.deployments import application

    built = call_user_app_builder_with_args_if_necessary(application, {"workspace": str(ws)})
    assert isinstance(built, Application)
    with pytest.raises(InputError, match="no run lies here"):
        call_user_app_builder_with_args_if_necessary(application, {"workspace": str(ws / "nothing")})
