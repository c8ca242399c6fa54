"""A grid of recipes: one recipe for each combination of the values that `--vary` gives."""

import re
from copy import deepcopy
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from longtail.errors import InputError
from longtail.recipe.loading import check_recipe, find_recipe, put_value, read_values
from longtail.recipe.recipe import Recipe

LONGEST_NAME = 120
"""A longer name of a point is cut: file systems allow 255 bytes."""


@dataclass(frozen=True)
class GridPoint:
    """One combination. changes: the value of each varied key, as YAML text, in the order of `--vary`."""

    changes: dict[str, str]
    recipe: Recipe

    @property
    def name(self) -> str:
        """A name for its folder. Without `=`: Parquet readers take `key=value` in a path for a column."""
        plain = "_".join(f"{key}-{text}" for key, text in self.changes.items())
        name = re.sub(r"[^A-Za-z0-9_.+-]+", "~", plain)[:LONGEST_NAME]
        return name if name == plain else f"{name}~{blake2b(plain.encode(), digest_size=4).hexdigest()}"

    def __str__(self) -> str:
        return ", ".join(f"{key} {text}" for key, text in self.changes.items())


def load_grid(path: str | Path, changes: list[str] | None, varied: list[str]) -> list[GridPoint]:
    """All combinations of `varied`, each `a.b=value,value,…` in YAML, in the recipe at `path` with `changes`.

    The last key moves fastest. Raises InputError that names every wrong key and value of all points, and for an unknown
    key the nearest known one.
    """
    path = find_recipe(path)
    values, axes = read_values(path, changes), _axes(varied)
    points, faults = [], {}
    for chosen in product(*axes.values()):
        own, texts = deepcopy(values), {}
        for (key, given), value in zip(axes.items(), chosen, strict=True):
            put_value(own, key, value, f"--vary {key}={', '.join(map(_text, given))}")
            texts[key] = _text(value)
        try:
            points.append(GridPoint(texts, check_recipe(own, str(path))))
        except InputError as error:
            faults |= dict.fromkeys(str(error).splitlines())  # most faults are those of many points
    if faults:
        raise InputError("\n".join(faults))
    return points


def _axes(varied: list[str]) -> dict[str, list[Any]]:
    """The values of each varied key. Raises InputError if one has none, or is given twice."""
    axes: dict[str, list[Any]] = {}
    for one in varied:
        key, equals, text = one.partition("=")
        if not equals or not key:
            raise InputError(f"--vary {one}: write it as section.key=value,value,…")
        try:
            values = yaml.safe_load(f"[{text}]")
        except yaml.YAMLError as error:
            raise InputError(f"--vary {one}: the values are not YAML: {error}") from error
        texts = [_text(value) for value in values]
        if not values:
            raise InputError(f"--vary {one}: give at least one value.")
        if key in axes or len(set(texts)) < len(texts):
            twice = key if key in axes else next(text for text in texts if texts.count(text) > 1)
            raise InputError(f"--vary {one}: {twice} is given twice.")
        axes[key] = values
    return axes


def _text(value: Any) -> str:
    """A value as YAML on one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")
    )
