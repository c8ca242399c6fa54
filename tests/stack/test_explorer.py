"""The explorer and the API's page in a real Chromium, over a real Serve. Only the lists of the LLM are written by the test.

Every test fails if a page logs an error, which includes what its Content-Security-Policy refuses, or asks another host.
"""

import json
import os
import shutil
from collections.abc import Iterator

import httpx
import numpy as np
import pyarrow as pa
import pytest
from axe_playwright_python.sync_playwright import Axe
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Locator, Page, Route, expect, sync_playwright

from longtail.aggregation.formulas import Union
from longtail.aggregation.kinds import Fusion, Inject, Paper, Uniform
from longtail.data import prepare
from longtail.evaluation import evaluate
from longtail.fusion import fuse
from longtail.recipe import Recipe, dump_recipe
from longtail.recommenders import train
from longtail.schema import RANKINGS
from longtail.workspace import Workspace
from tests.stack.endpoints import served_here

RECIPE = Recipe.model_validate(
    {
        "name": "explored",
        "dataset": {"simulation": {"users": 200, "items": 100}},
        "variants": ["observed", "popular"],
        "recommenders": {"itemcf": {"variants": ["observed"]}},
        "evaluation": {"protocol": "train-only"},
        "serving": {
            "kind": "paper",
            "alpha_1": 0.6,
            "alpha_2": 0.2,
            "utility": "rank",
            "deadline_ms": 60_000,
        },
    }
)
MOST = 100
expect.set_options(timeout=120_000)  # of a slow machine
WIDE, NARROW = {"width": 1360, "height": 900}, {"width": 400, "height": 860}
LISTS = ("recommender", "fused", "llm")


@pytest.fixture(scope="module")
def ws(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    ws = Workspace(str(tmp_path_factory.mktemp("explored")))
    (ws / "recipe.yaml").write_bytes(dump_recipe(RECIPE).encode())
    prepare(RECIPE, ws)
    histories = (ws / "data/histories").read_table(["user", "items", "train_end"]).sort_by("user").to_pylist()
    rng = np.random.default_rng(7)
    with ws.stage("augmentation/next_item", {}, [ws / "data"]).publishing() as draft:
        # An LLM that knows the future, which the whole history has, and then guesses.
        ranked = []
        for row in histories[::2]:
            others = rng.permutation(np.setdiff1d(np.arange(100), row["items"]))[:12]
            items = [*row["items"][row["train_end"] :], *others.tolist()]
            ranked.append(
                {"user": row["user"], "items": items, "scores": np.linspace(0.9, 0.1, len(items)).tolist()}
            )
        (draft / "rankings/one.parquet").write_table(pa.Table.from_pylist(ranked, RANKINGS))
    for stage in (fuse, train, evaluate):
        stage(RECIPE, ws)
    return ws


@pytest.fixture(scope="module")
def api(ws: Workspace) -> Iterator[httpx.Client]:
    with served_here(RECIPE, ws) as address, httpx.Client(base_url=address, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        assert "CI" not in os.environ, "the explorer must be tested: apt-get install chromium"
        pytest.skip("no Chromium here (Debian: chromium)")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


@pytest.fixture(params=["light"])
def page(api: httpx.Client, chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page without animations, so that everything is at its place at once."""
    context = chromium.new_context(
        base_url=str(api.base_url), viewport=WIDE, color_scheme=request.param, reduced_motion="reduce"
    )
    page, errors, elsewhere = context.new_page(), list[str](), list[str]()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on(
        "request",
        lambda asked: elsewhere.append(asked.url) if not asked.url.startswith(str(api.base_url)) else None,
    )
    yield page
    context.close()
    # A refused question is logged by the browser itself.
    assert not [error for error in errors if not error.startswith("Failed to load resource")]
    assert not elsewhere


both_schemes = pytest.mark.parametrize("page", ["light", "dark"], indirect=True)


@pytest.fixture(scope="module")
def users(ws: Workspace) -> list[str]:
    """By user code; those with an even code have a list of the LLM."""
    return (ws / "data/histories").read_table(["user", "user_id"]).sort_by("user")["user_id"].to_pylist()


def answer(api: httpx.Client, **asked: object) -> dict:
    return api.post("/v1/recommend", json={"k": MOST, "explain": True} | asked).raise_for_status().json()


def look(page: Page, user: str) -> None:
    page.goto(f"/#user={user}")
    expect(page.locator("#facts .user dd")).to_have_text(user)


def ids(page: Page, shown: str) -> list[str]:
    return page.locator(f"#{shown} li").evaluate_all("rows => rows.map(row => row.dataset.id)")


def rows(page: Page, shown: str) -> Locator:
    return page.locator(f"#{shown} li button")


def by_rank(items: list[dict], rank: str) -> list[str]:
    return [
        item["item_id"]
        for item in sorted((one for one in items if one[rank] is not None), key=lambda item: item[rank])
    ]


def test_the_three_lists_are_those_of_the_server(page: Page, api: httpx.Client, users: list[str]) -> None:
    """At the weight that is served, the browser's order is the server's own: to the last item of both lists."""
    page.goto("/#first=50")
    for user in users[:12]:
        page.goto(f"/#user={user}&first=50")
        expect(page.locator("#facts .user dd")).to_have_text(user)
        items = answer(api, user_id=user)["items"]
        assert ids(page, "fused") == [item["item_id"] for item in items][:50]
        assert ids(page, "recommender") == by_rank(items, "recommender_rank")
        assert ids(page, "llm") == by_rank(items, "llm_rank")


def test_dragging_alpha_fuses_at_once_and_asks_nothing(
    page: Page, api: httpx.Client, users: list[str]
) -> None:
    found = answer(api, user_id=users[0])
    items = found["items"]
    look(page, users[0])
    asked = list[str]()
    page.on("request", lambda one: asked.append(one.url))
    orders = set()
    for alpha in (0.0, 0.15, 0.37, 0.5, 0.81, 1.0):
        page.locator("#alpha").fill(str(alpha))
        union = sorted(items, key=lambda one: (one["recommender_rank"] or MOST, one["llm_rank"] or 0))
        utility = [alpha * one["llm_utility"] + (1 - alpha) * one["recommender_utility"] for one in union]
        best = np.argsort(-np.array(utility), kind="stable")[:10]
        assert ids(page, "fused") == [union[place]["item_id"] for place in best]
        expect(page.locator("#weight")).to_have_text(f"{alpha:.2f}")
        orders.add(tuple(ids(page, "fused")))
    assert len(orders) > 3
    assert ids(page, "fused") == by_rank(items, "llm_rank")[:10], "alpha = 1: the LLM alone"
    page.get_by_role("button", name="as served").click()
    assert ids(page, "fused") == [item["item_id"] for item in items[:10]]
    assert not asked


@st.composite
def fusions(draw: st.DrawFn) -> tuple[Union, Fusion, float]:
    some = st.lists(st.integers(0, 25), unique=True, max_size=15)
    pairs = []
    for items in (draw(some), draw(some)):
        scores = draw(st.lists(st.floats(-3, 3, width=32), min_size=len(items), max_size=len(items)))
        pairs.append((np.array([items], np.int32), -np.sort(-np.array([scores], np.float32))))
    kinds = st.sampled_from([Uniform(0.5), Paper(0.7, 0.2, "score"), Inject(2, 3), Inject(1, 1)])
    return Union.of(*pairs), draw(kinds), draw(st.floats(0, 1))


@pytest.fixture(scope="module")
def loaded(api: httpx.Client, chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page(base_url=str(api.base_url))
    page.goto("/")
    yield page
    page.close()


@settings(max_examples=150, deadline=None)
@given(fusions())
def test_the_browser_has_the_formulas_of_the_server(loaded: Page, drawn: tuple) -> None:
    union, fusion, alpha = drawn
    held = union.items[0] >= 0
    u_rec, u_llm = (part[0] for part in fusion.parts(union))
    items = [
        {
            "item_id": int(union.items[0, column]),
            "recommender_rank": int(union.recommender_place[0, column]) or None,
            "llm_rank": int(union.llm_place[0, column]) or None,
            "recommender_utility": float(u_rec[column]) if np.isfinite(u_rec[column]) else None,
            "llm_utility": float(u_llm[column]) if np.isfinite(u_llm[column]) else None,
        }
        for column in np.random.default_rng(0).permutation(np.flatnonzero(held))
    ]
    order = loaded.evaluate(
        "async ([items, alpha, kind]) => (await import('/explorer/fusion.js'))"
        ".fused(items, alpha, kind).map((item) => item.item_id)",
        [items, alpha, fusion.kind],
    )
    best = union.best(fusion.final_utility(union, np.array([alpha])), held.sum())
    assert order == union.items[0, best[0]].tolist()


def test_what_the_llm_changed_is_said(page: Page, api: httpx.Client, users: list[str]) -> None:
    """Counted here from the two lists, for every user with a list among the first ones."""
    for user in users[:10:2]:
        look(page, user)
        items = answer(api, user_id=user)["items"]
        before, now = by_rank(items, "recommender_rank")[:10], [item["item_id"] for item in items[:10]]
        came = [one for one in now if one not in before]
        assert page.locator("#fused li.came").evaluate_all("rows => rows.map(row => row.dataset.id)") == came
        headline = page.locator("#headline").inner_text()
        if came:
            things = "1 new item" if len(came) == 1 else f"{len(came)} new items"
            assert headline == f"The LLM brings {things} into the first 10."
        else:
            assert "new item" in headline or "nothing" in headline
        left = [one for one in before if one not in now]
        away = page.locator("#recommender li.away").evaluate_all("rows => rows.map(row => row.dataset.id)")
        assert away == left


def test_lines_join_the_same_items(page: Page, users: list[str]) -> None:
    look(page, users[0])
    lines = page.evaluate("""() => {
        const board = document.querySelector("#lists").getBoundingClientRect();
        const middle = (row) => { const box = row.getBoundingClientRect(); return box.top + box.height / 2 - board.top; };
        return [...document.querySelectorAll("#lines path")].map((path) => {
            const list = path.classList[0], id = path.dataset.id;
            const held = [list, "fused"].map((one) => document.querySelector(`#${one} li[data-id="${id}"]`));
            const way = path.getAttribute("d").match(/-?[\\d.]+/g).map(Number);
            const rows = held.map((row) => row && middle(row));
            return { list, far: path.classList.contains("far"), from: way[1], to: way.at(-1), rows };
        });
    }""")
    for line in lines:
        assert line["far"] == (None in line["rows"])
        for end, row in zip((line["from"], line["to"]), line["rows"], strict=True):
            assert row is None or abs(end - row) < 1
    near = [line for line in lines if not line["far"]]
    fused = set(ids(page, "fused"))
    assert len(near) == sum(len(fused & set(ids(page, shown))) for shown in ("recommender", "llm")) > 5


def test_why(page: Page, api: httpx.Client, users: list[str]) -> None:
    found = answer(api, user_id=users[0])
    item = next(one for one in found["items"] if one["recommender_rank"] and one["llm_rank"])
    look(page, users[0])
    page.locator("#first").select_option("50")
    page.locator(f'#fused li[data-id="{item["item_id"]}"] button').click()
    why = page.locator("#why")
    expect(why.locator("h2")).to_have_text(item["title"])
    shown = why.locator("tfoot td").inner_text().replace("−", "-")
    assert float(shown) == pytest.approx(item["score"], abs=0.006)
    for rank, row in (("recommender_rank", "recommender"), ("llm_rank", "llm")):
        expect(why.locator(f"tr.{row} th span")).to_have_text(f"place {item[rank]}")
    leans = item["why"]["leans_on"]
    expect(why.locator("li .name")).to_have_text([one["title"] for one in leans])
    expect(why.locator("li .pairs b")).to_have_text([one["origin"] for one in leans])
    assert leans, "an item of a neighbour model leans on something"
    page.locator("#alpha").fill("1")
    assert float(why.locator("tfoot td").inner_text().replace("−", "-")) == item["llm_utility"]
    page.keyboard.press("Escape")
    expect(why).to_be_hidden()


def test_arm_version_and_what_is_missing_are_seen(page: Page, api: httpx.Client, users: list[str]) -> None:
    look(page, users[1])
    alone = answer(api, user_id=users[1])
    expect(page.locator("#facts .arm dd")).to_have_text(alone["arm"])
    expect(page.locator("#facts .version dd")).to_have_text(alone["model_version"])
    expect(page.locator("#headline")).to_contain_text("recommender alone")
    expect(page.locator("#mix")).to_be_hidden()
    said = {"nobody": "The user is not known.", users[0]: "The LLM ranked an older history"}
    for user, begins in said.items():
        look(page, user)
        told = answer(api, user_id=user)["degraded"]
        stood_in = [part["stood_in"] for part in told["parts"]] if told else []
        expect(page.locator("#degraded li")).to_contain_text([f"In its place: {one}." for one in stood_in])
        expect(page.locator("#degraded li").filter(has_text=begins)).to_have_count(1)


def test_titles_are_picked_with_the_keyboard_alone(page: Page, api: httpx.Client, ws: Workspace) -> None:
    page.goto("/")
    title = page.get_by_role("combobox", name="Titles taken")
    title.focus()
    picked = []
    for prefix in ("a", "b", "c", "d", "e", "f", "g", "m", "p", "s", "t"):
        matches = api.get("/v1/titles", params={"prefix": prefix}).raise_for_status().json()["items"]
        matches = [one for one in matches if one["item_id"] not in picked]
        if len(matches) < 2 or len(picked) == 2:
            continue
        page.keyboard.type(prefix)
        expect(page.locator("#matches [role=option]")).to_have_text([one["title"] for one in matches])
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        expect(title).to_have_attribute("aria-activedescendant", "match-1")
        page.keyboard.press("Enter")
        picked.append(matches[1]["item_id"])
        expect(page.locator(".chip")).to_have_count(len(picked))
        expect(title).to_be_focused()
    assert len(picked) == 2
    expect(page.locator("#facts .history dd")).to_have_text("2 interactions")
    items = answer(api, history=picked)["items"]
    assert ids(page, "fused") == [item["item_id"] for item in items[:10]]
    names = page.locator(".chip").all_inner_texts()
    page.reload()
    assert page.locator(".chip").all_inner_texts() == names, "the address and the browser keep them"
    title.focus()
    page.keyboard.press("Backspace")
    expect(page.locator("#facts .history dd")).to_have_text("1 interaction")
    page.go_back()
    expect(page.locator("#facts .history dd")).to_have_text("2 interactions")


def test_arrow_keys_go_through_the_lists(page: Page, users: list[str]) -> None:
    look(page, users[0])
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the lists")
    expect(skip).to_be_focused()
    assert skip.bounding_box()["y"] >= 0, "it is seen when it has the focus"
    page.keyboard.press("Enter")
    expect(rows(page, "fused").first).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(rows(page, "fused").nth(2)).to_be_focused()
    outline = rows(page, "fused").nth(2).evaluate("row => getComputedStyle(row).outlineStyle")
    assert outline == "solid", "the focus is seen"
    page.keyboard.press("End")
    expect(rows(page, "fused").last).to_be_focused()
    page.keyboard.press("Home")
    here = ids(page, "fused")[0]
    for key, shown in (("ArrowLeft", "recommender"), ("ArrowRight", "fused"), ("ArrowRight", "llm")):
        page.keyboard.press(key)
        focused = page.evaluate("() => document.activeElement.closest('li').dataset.id")
        assert page.evaluate("() => document.activeElement.closest('ol').id") == shown
        assert focused == here or here not in ids(page, shown)
        here = focused
    page.keyboard.press("Enter")
    expect(page.locator("#why")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#why")).to_be_hidden()
    tabs = page.locator("#lists button").evaluate_all("all => all.map((one) => one.tabIndex)")
    assert tabs.count(0) == len(LISTS), "each list is one stop of the Tab key"


def test_arrow_keys_move_the_weight(page: Page, users: list[str]) -> None:
    look(page, users[0])
    served = float(page.locator("#weight").inner_text())
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#weight")).to_have_text(f"{served + 0.02:.2f}")
    page.keyboard.press("End")
    expect(page.locator("#weight")).to_have_text("1.00")
    assert ids(page, "fused") == ids(page, "llm")


def test_what_the_server_says_is_text(page: Page, users: list[str]) -> None:
    """A title that is markup: it is shown as it is, and nothing of it runs."""
    hostile = "<img src=x onerror=\"document.body.id='taken'\"><script>document.body.id='taken'</script>"

    def spoilt(route: Route) -> None:
        body = route.fetch().json()
        for item in body["items"]:
            item["title"] = hostile
            for one in item["why"]["leans_on"]:
                one["title"] = hostile
        told = {"part": hostile, "reason": hostile, "stood_in": hostile, "items": [hostile]}
        body |= {"arm": hostile, "recommender": hostile, "degraded": {"parts": [told]}}
        route.fulfill(json=body)

    page.route("**/v1/recommend", spoilt)
    look(page, users[0])
    rows(page, "fused").first.click()
    expect(page.locator("#why h2")).to_have_text(hostile)
    expect(rows(page, "fused").first.locator(".name")).to_have_text(hostile)
    assert page.evaluate("() => document.body.id") == ""
    assert page.locator("main img, main script").count() == 0


@pytest.mark.parametrize(("user", "says"), [("%00" * 600, "user_id"), ("x" * 600, "user_id")])
def test_a_refused_question_says_why(page: Page, user: str, says: str) -> None:
    page.goto(f"/#user={user}")
    expect(page.locator("#refused")).to_contain_text(says)
    expect(page.locator("#answer")).to_be_hidden()


def test_a_server_with_keys_is_asked_with_the_readers_key(page: Page, users: list[str]) -> None:
    def locked(route: Route) -> None:
        if route.request.headers.get("x-api-key") == "the key of this test":
            return route.continue_()
        problem = {"title": "Unauthorized", "status": 401, "detail": "Send one key."}
        route.fulfill(status=401, content_type="application/problem+json", body=json.dumps(problem))

    page.route("**/v1/*", locked)
    page.goto(f"/#user={users[0]}")
    expect(page.locator("#refused")).to_have_text("Send one key.")
    key = page.get_by_label("API key")
    expect(key).to_be_focused()
    key.fill("the key of this test")
    key.press("Enter")
    expect(page.locator("#facts .user dd")).to_have_text(users[0])
    page.reload()
    expect(page.locator("#facts .user dd")).to_have_text(users[0])
    assert "key" not in page.url


def test_a_service_that_is_gone_is_said(page: Page, users: list[str]) -> None:
    look(page, users[0])
    page.route("**/v1/*", lambda route: route.abort())
    page.get_by_role("button", name="Recommend").click()
    expect(page.locator("#refused")).to_contain_text("does not answer")


def test_400_pixels_are_enough(page: Page, users: list[str]) -> None:
    page.set_viewport_size(NARROW)
    look(page, users[0])
    assert page.evaluate("() => document.documentElement.scrollWidth") == NARROW["width"]
    expect(page.locator("#lines")).to_be_hidden()

    def in_view() -> list[str]:
        boxes = {shown: page.locator(f"#{shown}").bounding_box() for shown in LISTS}
        whole = {shown: box["x"] >= 0 and box["x"] + box["width"] <= 400 for shown, box in boxes.items()}
        return [shown for shown in LISTS if whole[shown]]

    assert in_view() == ["fused"]
    for name, shown in (("LLM", "llm"), ("Recommender", "recommender"), ("Fused", "fused")):
        page.get_by_role("button", name=name, exact=True).click()
        page.wait_for_function(
            "(shown) => { const box = document.getElementById(shown).getBoundingClientRect();"
            " return box.left >= 0 && box.right <= innerWidth; }",
            arg=shown,
        )
        assert in_view() == [shown]
    rows(page, "fused").nth(3).click()
    row, why = rows(page, "fused").nth(3).bounding_box(), page.locator("#side").bounding_box()
    assert row["height"] >= 44 and row["y"] + row["height"] <= why["y"], "the sheet does not cover its item"
    assert why["y"] + why["height"] <= NARROW["height"]


@both_schemes
@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_no_rule_of_accessibility_is_broken(page: Page, users: list[str], viewport: dict) -> None:
    """axe-core's rules, those of WCAG 2 AA (contrast, names, roles) among them: empty, answered, explained, degraded."""
    page.set_viewport_size(viewport)
    page.goto("/")
    assert not broken(page)
    look(page, users[0])
    assert not broken(page)
    rows(page, "fused").first.click()
    assert not broken(page)
    look(page, "nobody")
    assert not broken(page)


def broken(page: Page) -> list[tuple[str, list[str]]]:
    found = Axe().run(page).response["violations"]
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found]


@both_schemes
def test_the_page_of_the_api_needs_no_internet(page: Page, api: httpx.Client) -> None:
    page.goto("/docs")
    expect(page.locator(".opblock")).to_have_count(
        sum(len(methods) for methods in api.get("/openapi.json").json()["paths"].values())
    )
    page.locator(".opblock-summary", has_text="/v1/recommend").first.click()
    expect(page.locator(".opblock-body textarea").first).to_contain_text("user_id")
    expect(
        page.locator(".errors-wrapper"), "the description refers to nothing that is not there"
    ).to_have_count(0)
    dark = page.evaluate("() => matchMedia('(prefers-color-scheme: dark)').matches")
    expect(page.locator("html.dark-mode")).to_have_count(int(dark))
    page.get_by_role("button", name="Execute").click()
    expect(page.locator(".live-responses-table tbody .response-col_status")).to_contain_text("200")
