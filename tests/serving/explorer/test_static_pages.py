"""The files of the explorer and of the API's page: whole, from here alone, and strict about what may run."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import longtail.serving.explorer
from longtail.serving.edge.keys import Keys
from longtail.serving.edge.protection import protect
from longtail.serving.explorer import PATHS, add_pages
from longtail.serving.messages.request_messages import MAX_K

STATIC = Path(longtail.serving.explorer.__file__).with_name("static")
OURS = sorted(STATIC.iterdir())
LOADED = re.compile(r"""(?:src|href)="([^"]+)"|from "\./([^"]+)"|url\(["']?([^"')]+)""")


@pytest.fixture(scope="module")
def http() -> Iterator[TestClient]:
    """Behind the edge, of a server that asks for keys."""
    app = FastAPI(docs_url=None, redoc_url=None)
    add_pages(app)
    with TestClient(protect(app, Keys([]), deadline=300.0, longest=600.0)) as client:
        yield client


@pytest.mark.parametrize("path", sorted(PATHS))
def test_every_file_is_there_without_a_key(http: TestClient, path: str) -> None:
    found, head = http.get(path), http.head(path)
    assert found.status_code == head.status_code == 200 and found.content and not head.content
    assert found.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in found.headers["content-security-policy"]
    assert (found.headers["x-content-type-options"], found.headers["cache-control"]) == (
        "nosniff",
        "no-cache",
    )
    again = http.get(path, headers={"if-none-match": found.headers["etag"]})
    assert again.status_code == 304 and not again.content


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/explorer", 401),
        ("/explorer/", 401),
        ("/explorer/none.js", 401),
        ("/explorer/../static_pages.py", 401),
        ("/explorer/%2e%2e/static_pages.py", 401),
    ],
)
def test_nothing_else_is_open(http: TestClient, path: str, status: int) -> None:
    assert http.get(path).status_code == status


@pytest.mark.parametrize("path", ["/explorer/none.js", "/explorer/%2e%2e/static_pages.py", "/explorer/%00"])
def test_nothing_outside_of_the_folders_is_given(path: str) -> None:
    app = FastAPI()
    add_pages(app)
    assert TestClient(app).get(path).status_code == 404


@pytest.mark.parametrize("file", OURS, ids=lambda file: file.name)
def test_a_file_loads_nothing_from_elsewhere(file: Path) -> None:
    """Every address is relative, so the pages work offline and under a prefix."""
    for found in LOADED.findall(file.read_text()):
        address = "".join(found)
        if not address.startswith("#"):
            name = address.removeprefix("explorer/")
            assert f"/explorer/{name}" in PATHS or address in ("docs", "./", "openapi.json"), address
    remote = set(re.findall(r"\w+://[^\s\"')]+", file.read_text()))
    assert remote <= {"http://www.w3.org/2000/svg"}, "the name of a namespace is never fetched"


def test_the_explorer_asks_for_as_many_items_as_there_can_be() -> None:
    """Its three lists are made from one answer, so it must be as whole as the service allows."""
    assert f"const MOST = {MAX_K};" in (STATIC / "explorer.js").read_text()


@pytest.mark.parametrize(
    "file", [file for file in OURS if file.suffix == ".html"], ids=lambda file: file.name
)
def test_a_page_has_no_code_or_style_of_its_own(file: Path) -> None:
    """The Content-Security-Policy would refuse it."""
    page = file.read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", page)


@pytest.mark.parametrize("file", [file for file in OURS if file.suffix == ".js"], ids=lambda file: file.name)
def test_no_script_makes_markup_of_a_text(file: Path) -> None:
    """What the server says is set as text. `docs.js` hands the page to Swagger UI, which does its own."""
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|Function\(", file.read_text()
    )
