"""Options: several sets of changes to one recipe, all run in one workspace, so that nothing is made twice."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from longtail.errors import InputError
from longtail.recipe import Recipe, load_recipe
from longtail.runtime.ray_start import ray_ended
from longtail.stages import run as run_stages
from longtail.workspace import Workspace
from longtail.workspace.lease import session

AS_IT_IS = "as in the recipe"
"""The option without changes, which is always there."""
Changes = Annotated[list[str] | None, typer.Option("--set", help="A change to the recipe of every run")]
Options = Annotated[
    list[str] | None,
    typer.Option("--option", help='What is compared, as "name: key=value; key=value". May be repeated'),
]


Against = Annotated[str, typer.Option(help="The option that the others are held against")]


def parsed(options: list[str] | None, against: str = AS_IT_IS) -> dict[str, list[str]]:
    """By name the changes to the recipe of each option, the one without changes first.

    Raises InputError for an option that is not written so, or if there is none of the name `against`.
    """
    found: dict[str, list[str]] = {AS_IT_IS: []}
    for option in options or []:
        name, colon, changes = option.partition(":")
        name = name.strip()
        if not colon or not name or name in found:
            raise InputError(
                f'--option {option!r}: write it as "name: key=value; key=value", each name once, and not'
                f" {AS_IT_IS!r}."
            )
        found[name] = [one.strip() for one in changes.split(";") if one.strip()]
    if against not in found:
        raise InputError(f"--against {against}: the options are {', '.join(found)}.")
    return found


def finished(
    recipe: str,
    to: Path,
    runs: dict[str, list[str]],
    stages: Callable[[Recipe, Workspace], None] = run_stages,
) -> Iterator[tuple[Recipe, Workspace]]:
    """Run the recipe with each set of changes, in folders of these names, and give each finished run.

    What is up to date is not made again, and what one run has made is taken over by the others.
    """
    loaded = {name: load_recipe(recipe, changes) for name, changes in runs.items()}
    ws = Workspace.of_run(str(to), next(iter(loaded.values())).model_dump(mode="json"))
    with ray_ended(), session():
        ws.claim()
        lent = ws.lends()
        for name, own in loaded.items():
            inner = ws.point(name, own.model_dump(mode="json"), lent)
            stages(own, inner)
            lent |= inner.lends()
            yield own, inner
