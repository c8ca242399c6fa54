"""Each replica counts by itself, and who asks one of them gets all of them, told apart."""

import pickle

from prometheus_client.parser import text_string_to_metric_families

from longtail.serving.metrics import REGISTRY, exposition, families
from tests.serving.edge.protected import KEY, KEYS, ask, protected


def counted(route: str, status: int, key: str = "none", arm: str = "none") -> float:
    labels = {"route": route, "status": str(status), "key": key, "arm": arm}
    return REGISTRY.get_sample_value("longtail_requests_total", labels) or 0.0


def test_requests_are_counted_by_path_status_key_and_arm() -> None:
    app, headers = protected(keys=KEYS), {"X-API-Key": KEY}
    before = counted("/v1/ask", 200, "web", "b"), counted("/v1/items/{item_id}", 200, "web")
    strange = counted("none", 404, "web"), counted("none", 401)
    late = REGISTRY.get_sample_value("longtail_degraded_total", {"part": "llm", "reason": "late"}) or 0.0
    for _ in range(3):
        ask(app, "POST", "/v1/ask", json={"history": []}, headers=headers)
    for item in ("1", "2"):
        ask(app, "GET", f"/v1/items/{item}", headers=headers)
    for path in ("/a", "/b", "/c"):
        ask(app, "GET", path, headers=headers)
        ask(app, "GET", path)
    assert counted("/v1/ask", 200, "web", "b") == before[0] + 3
    assert counted("/v1/items/{item_id}", 200, "web") == before[1] + 2
    assert (counted("none", 404, "web"), counted("none", 401)) == (strange[0] + 3, strange[1] + 3)
    assert REGISTRY.get_sample_value("longtail_degraded_total", {"part": "llm", "reason": "late"}) == late + 3


def test_the_page_of_several_replicas_has_each_family_once() -> None:
    ask(protected(), "GET", "/livez")
    one = pickle.loads(pickle.dumps(families("one")))
    page = exposition([one, families("two")]).decode()
    found = {family.name: family for family in text_string_to_metric_families(page)}
    assert page.count("# TYPE longtail_requests_total counter") == 1
    for name in (
        "longtail_requests",
        "longtail_request_seconds",
        "longtail_in_flight",
        "process_resident_memory_bytes",
    ):
        assert {sample.labels["replica"] for sample in found[name].samples} == {"one", "two"}, name
    series = [
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in found.values()
        for sample in family.samples
    ]
    assert len(series) == len(set(series))


def test_collecting_does_not_change_what_is_collected() -> None:
    ask(protected(), "GET", "/livez")
    for replica in ("one", "two"):
        for family in families(replica):
            assert all(sample.labels["replica"] == replica for sample in family.samples)
    assert all("replica" not in sample.labels for family in REGISTRY.collect() for sample in family.samples)
