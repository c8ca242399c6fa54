"""What `longtail serve` answers is what its OpenAPI description says, whatever is asked: schemathesis and broken bodies."""

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from longtail.recipe import dump_recipe
from tests.serving.store import RECIPE, write_store
from tests.stack.endpoints import KEY, Served, served

SCHEMATHESIS = Path(sys.executable).with_name("st")
PHASES = "examples,coverage,fuzzing,stateful"
SEED = 20261130


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    ws = write_store(tmp_path_factory.mktemp("contract") / "ws")
    (ws / "recipe.yaml").write_bytes(dump_recipe(RECIPE).encode())
    with served(Path(str(ws / "recipe.yaml")), Path(str(ws))) as endpoint:
        yield endpoint


@pytest.mark.parametrize("examples", [3, pytest.param(200, marks=pytest.mark.faults)])
def test_the_description_holds(endpoint: Served, examples: int, tmp_path: Path) -> None:
    """No 5xx, no answer against the schema, no status that is not described, no route that forgets the key."""
    if not SCHEMATHESIS.exists():
        pytest.skip("schemathesis is not installed (pip install --no-deps -r requirements/cpu.txt)")
    command = [SCHEMATHESIS, "run", f"{endpoint.url}/openapi.json", "--phases", PHASES, "--no-color"]
    command += ["--max-examples", str(examples), "--seed", str(SEED), "--header", f"X-API-Key: {KEY}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-8000:]


def asked(endpoint: Served) -> list[tuple[str, Any]]:
    """Every route that reads a body, with the examples of the description."""
    described = httpx.get(f"{endpoint.url}/openapi.json").json()
    found = []
    for path, operations in described["paths"].items():
        if "requestBody" in operations.get("post", {}):
            schema = operations["post"]["requestBody"]["content"]["application/json"]["schema"]
            named = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            found += [(path, example) for example in named["examples"]]
    return found


def broken(body: Any, rng: random.Random) -> bytes:
    """A body that was right, with something put, cut, exchanged or turned around in it."""
    kind = rng.randrange(6)
    if kind == 0:
        return rng.randbytes(rng.randrange(200))
    if kind == 1:
        return json.dumps(_exchanged(body, rng)).encode()
    text = bytearray(json.dumps(body).encode())
    for _ in range(rng.randrange(1, 6)):
        place = rng.randrange(len(text) + 1)
        if kind == 2:
            del text[place:]
        elif kind == 3:
            text[place:place] = rng.choice(PIECES)
        elif text:
            text[place % len(text)] = rng.randrange(256)
    return bytes(text)


PIECES = [
    b"NaN",
    b"1e999",
    b"-1",
    b"\\ud800",
    b"null",
    b"[" * 5000,
    b'"',
    b"{}",
    b"\x00",
    b"\xff\xfe",
    b"9" * 400,
    b",",
]
VALUES = [
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    float("nan"),
    "",
    "\ud800",
    "x" * 5000,
    [],
    [[]],
    {},
    {"": ""},
    ["i0"] * 6000,
]


def _exchanged(body: Any, rng: random.Random) -> Any:
    """One value of it is another one, or one key is."""
    if isinstance(body, dict) and body and rng.random() < 0.8:
        key = rng.choice(sorted(body))
        if rng.random() < 0.2:
            return body | {rng.choice(["", "user", "\ud800", "k" * 1000]): body[key]}
        return body | {key: _exchanged(body[key], rng)}
    if isinstance(body, list) and body and rng.random() < 0.8:
        place = rng.randrange(len(body))
        return [*body[:place], _exchanged(body[place], rng), *body[place + 1 :]]
    return rng.choice(VALUES)


@pytest.mark.parametrize("bodies", [200, pytest.param(10_000, marks=pytest.mark.faults)])
def test_no_body_breaks_the_server(endpoint: Served, bodies: int) -> None:
    """Each is answered, or refused with a problem document; and afterwards the server is as it was."""
    rng, examples = random.Random(SEED), asked(endpoint)
    headers = {"content-type": "application/json"}
    statuses: dict[int, int] = {}
    with endpoint.client() as http:
        for _ in range(bodies):
            path, example = rng.choice(examples)
            body = broken(example, rng)
            answer = http.post(path, content=body, headers=headers)
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
            assert answer.status_code < 500, (path, body[:500], answer.text)
            if answer.status_code != 200:
                assert answer.headers["content-type"] == "application/problem+json", (path, body[:500])
                assert answer.json()["status"] == answer.status_code
        assert http.get("/readyz").status_code == 200
    assert {200, 400, 422} <= set(statuses) <= {200, 400, 404, 409, 413, 422}, statuses


def test_without_its_key_nothing_is_told(endpoint: Served) -> None:
    described = httpx.get(f"{endpoint.url}/openapi.json").json()
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if operation["security"]:
                address = endpoint.url + path.replace("{item_id}", "i0")
                for headers in ({}, {"X-API-Key": "wrong"}):
                    assert httpx.request(method, address, headers=headers).status_code == 401, path
                assert httpx.request(method, f"{address}?api_key={KEY}").status_code == 401, path
