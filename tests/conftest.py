"""What every test may use: a Ray of its own, and the real data sets where they are."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import longtail

# Two processes share the tests: their OpenMP threads would wait for each other on busy cores, 45 s for what takes 2.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes is the machine's affair, which may be a slow one.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parents[1]
# Ray's workers find what a test defines. They do not look where the tests were started.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
REAL_DATA = Path(os.environ.get("LONGTAIL_DATA", ROOT.parent / "shared" / "data"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What starts engines comes first: of two processes that share the tests, none is left with the longest at the end."""
    tests = ROOT / "tests"
    engines = {
        tests / name for name in ("stack", "jobs", "test_documents.py", "test_notebook.py", "test_console.py")
    }
    items.sort(key=lambda item: engines.isdisjoint([item.path, *item.path.parents]))


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """One local Ray for the whole session, as the command line starts it."""
    import ray

    from longtail.recipe import Resources
    from longtail.runtime.cluster import connect

    connect(Resources())
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory, ray_here: None) -> longtail.Run:
    """A finished run that asks no LLM: ItemCF, Swing and BPR on a simulated store."""
    from tests.console import RECIPE

    folder = tmp_path_factory.mktemp("small_run")
    (folder / "tiny.yaml").write_text(RECIPE)
    return longtail.run(folder / "tiny.yaml", workspace=folder / "run", changes=["recommenders.swing={}"])


@pytest.fixture(scope="session")
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
