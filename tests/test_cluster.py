"""Joining Ray: what workers say reaches the user, and shared objects are read once a process."""

import logging

import pytest

from app.cluster import connect, fetch, relay
from app.recipe import Resources

pytestmark = pytest.mark.usefixtures("ray_here")


def test_what_workers_say_is_logged_here_in_order(caplog):
    import ray

    logger = logging.getLogger("longtail")
    logger.propagate = True
    with caplog.at_level(logging.INFO, logger="longtail"), relay() as say:
        ray.get(ray.remote(lambda: [say(f"step {step}") for step in range(5)]).remote())
    assert [record.message for record in caplog.records] == [f"step {step}" for step in range(5)]


def test_fetch_gives_the_same_object_again():
    import ray

    reference = ray.put({"a": [1, 2, 3]})
    assert fetch(reference) == {"a": [1, 2, 3]} and fetch(reference) is fetch(reference)


def test_connecting_twice_is_once():
    import ray

    before = ray.get_runtime_context().get_job_id()
    connect(Resources())
    assert ray.get_runtime_context().get_job_id() == before
