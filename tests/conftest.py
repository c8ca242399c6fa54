"""What every test may use: a Ray of its own, and the real data sets where they are."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Two processes share the tests: their OpenMP threads would wait for each other on busy cores, 45 s for what takes 2.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes is the machine's affair, which may be a slow one.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parents[1]
REAL_DATA = Path(os.environ.get("LONGTAIL_DATA", ROOT.parent / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts engines comes first: of two processes that share the tests, none is left with the longest at the end."""
    engines = {ROOT / "tests/stack", ROOT / "tests/jobs"}
    items.sort(key=lambda item: engines.isdisjoint(item.path.parents))


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """One local Ray for the whole session, as the command line starts it."""
    import ray

    from app.cluster import connect
    from app.recipe import Resources

    connect(Resources())
    yield
    ray.shutdown()


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """`real_data("ml-100k")` is the folder of a real data set; the test skips where it is absent."""

    def find(name: str) -> Path:
        folder = REAL_DATA / name
        if not folder.exists():
            pytest.skip(
                f"real data set {name} is not on this machine (set LONGTAIL_DATA to its parent folder)"
            )
        return folder

    return find
