"""Joining Ray: what workers say reaches the user, and shared objects are read once a process."""

import logging
import os
import socket
import subprocess
import time

import psutil
import pytest

from app.cluster import DRIVER, _end_orphans, _forget_dead_cluster, connect, fetch, relay
from app.recipe import Resources

pytestmark = pytest.mark.usefixtures("ray_here")


def test_what_workers_say_is_logged_here_in_order():
    import ray

    said: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: said.append(record.getMessage())
    logger = logging.getLogger("longtail")
    level = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    try:
        with relay() as say:
            ray.get(ray.remote(lambda: [say(f"step {step}") for step in range(5)]).remote())
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
    assert said == [f"step {step}" for step in range(5)]


def test_fetch_gives_the_same_object_again():
    import ray

    reference = ray.put({"a": [1, 2, 3]})
    assert fetch(reference) == {"a": [1, 2, 3]} and fetch(reference) is fetch(reference)


def test_connecting_twice_is_once():
    import ray

    before = ray.get_runtime_context().get_job_id()
    connect(Resources())
    assert ray.get_runtime_context().get_job_id() == before


def test_the_address_of_a_cluster_is_forgotten_only_where_nobody_answers(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    address = tmp_path / "ray/ray_current_cluster"
    _forget_dead_cluster()
    address.parent.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as alive:
        address.write_text(f"127.0.0.1:{alive.getsockname()[1]}")
        _forget_dead_cluster()
        assert address.exists()
    _forget_dead_cluster()
    assert not address.exists()


def orphan(driver: int) -> psutil.Process:
    """A process whose parent is gone, started for `driver`."""
    command = f"{DRIVER}={driver} setsid sleep 300 >/dev/null 2>&1 & echo $!"
    process = psutil.Process(
        int(subprocess.run(["bash", "-c", command], capture_output=True, text=True).stdout)
    )
    while process.ppid() != 1:
        time.sleep(0.01)
    return process


def test_what_a_killed_run_left_is_ended_and_nothing_else():
    gone = subprocess.Popen(["true"])
    gone.wait()
    left_over, in_use = orphan(gone.pid), orphan(os.getpid())
    try:
        _end_orphans()
        # A killed process is there until the kernel has seen to it.
        psutil.wait_procs([left_over], timeout=120)
        assert not left_over.is_running() or left_over.status() == psutil.STATUS_ZOMBIE
        assert in_use.status() == psutil.STATUS_SLEEPING
    finally:
        in_use.kill()
