"""The arrows between rooms run one way: whoever reads a room needs to know those below it alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "app" / "longtail"
ROOMS = (
    *(
        "errors",
        "schema",
        "progress",
        "ranking_metrics",
        "arrays",
        "attention_groups",
        "registry",
        "variants",
    ),
    *(
        "workspace",
        "event_log",
        "recipe",
        "rounds",
        "runtime",
        "data",
        "text",
        "recommenders",
        "llm",
        "augment",
        "fusion",
    ),
    *(
        "aggregation",
        "evaluation",
        "report",
        "search",
        "ab",
        "serving",
        "stages",
        "api",
        "command",
        "cli",
        "__main__",
    ),
)
"""A room imports itself and those that stand before it, never one that stands after it."""
APART = {
    ("search", "report"),
    ("serving", "search"),
    ("serving", "report"),
    ("serving", "evaluation"),
    ("serving", "ab"),
}
"""Not even downwards: (importer, imported)."""


def modules() -> dict[str, Path]:
    return {_dotted(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def _dotted(file: Path) -> str:
    parts = ("longtail", *file.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imported(file: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every import in a file, those inside functions too; name is "" for a whole module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: imports are absolute"
            yield from ((node.module, alias.name) for alias in node.names)
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def arrows() -> Iterator[tuple[str, str]]:
    """(importer, imported) as dotted modules of the package."""
    known = modules()
    for module, file in known.items():
        for source, name in imported(file):
            if source.split(".")[0] == "longtail" and (source, name) != ("longtail", "__version__"):
                inner = f"{source}.{name}"
                yield module, inner if inner in known else source


def test_every_room_stands_in_the_order():
    assert {room_of(module) for module in modules()} - {""} == set(ROOMS)


def test_arrows_between_rooms_run_one_way():
    wrong = [
        f"{importer} imports {target}"
        for importer, target in arrows()
        if room_of(importer) and room_of(target) not in ("", room_of(importer))
        if ROOMS.index(room_of(target)) > ROOMS.index(room_of(importer))
        or (room_of(importer), room_of(target)) in APART
    ]
    assert not wrong


def test_within_a_room_no_module_needs_itself():
    """By imports at the top of a file; what a function imports is loaded when it is called."""
    known, needs = modules(), {}
    for module, file in known.items():
        top = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ImportFrom)]
        found = [(node.module, f"{node.module}.{alias.name}") for node in top for alias in node.names]
        needs[module] = {inner if inner in known else source for source, inner in found} & known.keys()

    def reached(start: str) -> set[str]:
        met, waiting = set(), [start]
        while waiting:
            for target in needs[waiting.pop()] - met:
                met.add(target)
                waiting.append(target)
        return met

    assert not [module for module in known if module in reached(module)]


def test_no_room_reaches_into_anothers_private_names():
    wrong = [
        f"{importer}: {source}.{name}"
        for importer, file in modules().items()
        for source, name in imported(file)
        if source.startswith("longtail")
        and any(part.startswith("_") and not part.startswith("__") for part in (*source.split("."), name))
    ]
    assert not wrong


@pytest.mark.parametrize("file", sorted((ROOT / "jobs").rglob("*.py")), ids=lambda file: file.stem)
def test_jobs_import_the_package_and_reach_into_nothing_private(file: Path):
    for source, name in imported(file):
        assert not (source.startswith("longtail") and name.startswith("_") and name != "__version__")


def test_the_package_does_not_know_of_jobs_or_tests():
    for file in modules().values():
        assert not [source for source, _ in imported(file) if source.split(".")[0] in ("jobs", "tests")]


def test_no_two_modules_have_one_name():
    names = [module.rsplit(".", 1)[-1] for module, file in modules().items() if file.name != "__init__.py"]
    assert not {name for name in names if names.count(name) > 1}
