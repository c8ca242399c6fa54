"""The recipe of a test module, as a file for commands and as a loaded object."""

from pathlib import Path

import pytest

from longtail.recipe import Recipe, load_recipe


@pytest.fixture(scope="module")
def recipe_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("faults") / "faults.yaml"
    file.write_text(request.module.RECIPE)
    return file


@pytest.fixture(scope="module")
def recipe(recipe_file: Path) -> Recipe:
    return load_recipe(recipe_file)
