"""What `import longtail` costs and offers."""

import subprocess
import sys

import pytest

import longtail
from longtail import registry
from tests.console import environment

HEAVY = ("numpy", "pandas", "pyarrow", "pydantic", "ray", "torch", "numba", "typer")


def test_the_import_is_light() -> None:
    code = f"import sys, longtail; dir(longtail); print(sorted({HEAVY!r} & sys.modules.keys()))"
    code = code.replace(repr(HEAVY), repr(set(HEAVY)))
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_public_name_is_there() -> None:
    for name in longtail.__all__:
        assert getattr(longtail, name) is not None and name in dir(longtail)
    with pytest.raises(AttributeError, match="Swign"):
        longtail.Swign  # noqa: B018


def test_every_recommender_of_the_recipe_is_a_class_of_that_name() -> None:
    assert [getattr(longtail, name).name for name in longtail.RECOMMENDERS] == list(registry.RECOMMENDERS)
    assert "recency" in str(longtail.Swing.__signature__) and "judge" not in str(longtail.Swing.__signature__)
