"""Read a recipe: YAML and `--set` changes become a checked `Recipe`, or one error that names the key and the fix."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

import longtail
from longtail.errors import InputError
from longtail.recipe.recipe import Recipe
from longtail.recipe.section import Section
from longtail.recipe.strategy_section import StrategySection
from longtail.registry import recommender_spec, recommenders, strategies, strategy_spec

SHIPPED = Path(longtail.__file__).with_name("recipes")
"""The folder of the recipes in the package, which are used by name."""


def load_recipe(path: str | Path, changes: list[str] | None = None) -> Recipe:
    """Read a YAML recipe and apply changes of the form `a.b=c` (the values are YAML too).

    path: a file, or the name of a shipped recipe. Raises InputError that names the file, the key and the value, and for an
    unknown key the nearest known one.
    """
    path = find_recipe(path)
    return check_recipe(read_values(path, changes), str(path))


def read_values(path: Path, changes: list[str] | None = None) -> dict[str, Any]:
    """The values of a recipe file with changes of the form `a.b=c`, not checked yet. Raises InputError as `load_recipe`."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    if not isinstance(values, dict):
        raise InputError(
            f"{path}: a recipe must be a mapping of sections, but this is {type(values).__name__}."
        )
    for change in changes or []:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise InputError(f"--set {change}: write it as section.key=value.")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InputError(f"--set {change}: the value is not YAML: {error}") from error
        put_value(values, key, value, f"--set {change}")
    return values


def check_recipe(values: dict[str, Any], where: str) -> Recipe:
    """Make a recipe from values. Raises InputError: `where`, each wrong key and its fix, one per line."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise InputError("\n".join(f"{where}: {_explain(problem)}" for problem in error.errors())) from None


def check_saved(values: dict[str, Any], where: str, mend: str) -> Recipe:
    """As `check_recipe`, of what a run saved. Another version may have saved it, so its error says how to `mend` that."""
    try:
        return check_recipe(values, where)
    except InputError as error:
        raise InputError(f"{error}\nThis version cannot read the recipe of that run. {mend}") from None


def find_recipe(path: str | Path) -> Path:
    """The file `path`, or the shipped recipe with this name. Raises InputError that lists those if there is neither."""
    path, shipped = Path(path), {file.stem: file for file in SHIPPED.glob("*.yaml")}
    if path.exists() or str(path) not in shipped:
        if not path.is_file():
            raise InputError(
                f"{path}: no such recipe. Shipped recipes, used by name: {', '.join(sorted(shipped))}."
            )
        return path
    return shipped[str(path)]


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML, with all defaults."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def put_value(values: dict[str, Any], key: str, value: Any, said: str) -> None:
    """Set one key `a.b` in the values of a recipe. Raises InputError that begins with `said` if there is no such place.

    Not OmegaConf: it would read `${…}` in a value as a reference to the environment or to another key.
    """
    *parents, last = key.split(".")
    for parent in parents:
        if isinstance(values, list) and parent.isdigit() and int(parent) < len(values):
            values = values[int(parent)]
            continue
        values = values.setdefault(parent, {}) if isinstance(values, dict) else None
        if not isinstance(values, dict | list):
            raise InputError(f"{said}: {parent} is not a section of the recipe.")
    if isinstance(values, list):
        raise InputError(
            f"{said}: {parents[-1]} is a list. Give the position in it, for example {parents[-1]}.0.{last}."
        )
    values[last] = value


def _explain(problem: dict[str, Any]) -> str:
    """One validation problem as a message for the author of the recipe."""
    where = [part for part in problem["loc"]]
    key = ".".join(str(part) for part in where)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(where[:-1])
        near = difflib.get_close_matches(str(where[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}."
        return f"unknown key '{key}': {hint}"
    if not where:  # a problem between several sections: its message names them
        return f"{problem['msg']}."
    return f"{key} = {problem.get('input')!r}: {problem['msg']}."


def _known_keys(where: list[str | int]) -> list[str]:
    """The field names of the section at `where`."""
    section: Any = Recipe
    if where[:1] == ["recommenders"]:
        if not where[1:]:
            return list(recommenders())
        section, where = recommender_spec(where[1]).settings, where[2:]
    for part in where:
        if isinstance(part, str) and part in getattr(section, "model_fields", {}):
            section = _section_of(section.model_fields[part].annotation)
        elif section is StrategySection and part in strategies():
            section = strategy_spec(part).settings
    return list(getattr(section, "model_fields", {}))


def _section_of(annotation: Any) -> Any:
    """The Section inside an annotation such as `Dataset` or `list[StrategySection]`."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(
        (found for inner in getattr(annotation, "__args__", ()) if (found := _section_of(inner))), None
    )
