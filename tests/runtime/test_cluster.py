"""Joining Ray: what workers say reaches the user, and shared objects are read once a process."""

import logging
import os
import subprocess
import time

import psutil
import pytest

from longtail.recipe import Resources
from longtail.runtime.cluster import DRIVER, connect, fetch, relay
from longtail.runtime.ray_start import PORT, end_orphans, own_address

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


def test_workers_of_our_own_ray_ask_it_and_not_the_last_one_started_on_the_machine(tmp_path):
    import ray

    other = tmp_path / "ray/ray_current_cluster"
    other.parent.mkdir()
    other.write_text("127.0.0.1:1")

    def asked() -> str:
        from ray._private.services import canonicalize_bootstrap_address_or_die

        os.environ["RAY_TMPDIR"] = str(tmp_path)
        return canonicalize_bootstrap_address_or_die(None)

    assert ray.get(ray.remote(asked).remote()) == ray.get_runtime_context().gcs_address
    assert PORT not in os.environ


def test_a_port_that_the_user_chose_for_ray_is_taken_and_left_as_it_was(monkeypatch):
    monkeypatch.setenv(PORT, "6399")
    with own_address() as told:
        assert told == {"RAY_ADDRESS": "127.0.0.1:6399"}
    assert os.environ[PORT] == "6399"


def test_workers_of_our_own_ray_do_not_ask_the_dashboard_of_another_one():
    """At the usual port there may be one, which knows nothing of our actors; ours has none."""
    import ray

    def asked() -> None:
        from ray.dashboard.utils import get_address_for_submission_client
        from ray.util.state import get_actor

        assert not get_address_for_submission_client(None).endswith(":8265")
        get_actor("00" * 16, timeout=5)

    with pytest.raises(ray.exceptions.RayTaskError, match="Failed to connect to API server"):
        ray.get(ray.remote(asked).remote())


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
        end_orphans(DRIVER)
        # A killed process is there until the kernel has seen to it.
        psutil.wait_procs([left_over], timeout=120)
        assert not left_over.is_running() or left_over.status() == psutil.STATUS_ZOMBIE
        # On a busy machine it may not have come to its sleep yet.
        assert in_use.is_running() and in_use.status() != psutil.STATUS_ZOMBIE
    finally:
        in_use.kill()
