"""The documents say what is so: links, anchors, paths, commands, recipes; and the tutorial does what it says."""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from packaging.requirements import Requirement

from longtail.cli import main
from longtail.recipe import load_recipe
from longtail.report.glossary import GLOSSARY
from tests.conftest import ROOT
from tests.console import environment

PLACES = ("app", "clusters", "docs", "jobs", "requirements", "tests", ".ci")
"""What a path in the documents begins with."""
PAGES = sorted(
    [*ROOT.glob("*.md"), *(page for place in PLACES for page in (ROOT / place).rglob("*.md"))],
    key=lambda page: (len(page.parts), page),
)
SHIPPED = {file.stem for file in (ROOT / "app/longtail/recipes").glob("*.yaml")}
LONGEST = 120
SCREEN = 45
"""Lines that are seen at a time."""
FENCE = re.compile(r"^```([^`\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"^(?:    .*\n)+", re.MULTILINE)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(page: Path) -> str:
    """A page without its fenced and its indented code."""
    return re.sub(r"^    [^\n]*$", "", FENCE.sub("", page.read_text()), flags=re.MULTILINE)


def blocks(page: Path, *languages: str) -> list[str]:
    return [code for language, code in FENCE.findall(page.read_text()) if language in languages]


def anchors(page: Path) -> set[str]:
    """Of every heading what both GitHub and the site call it."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE):
        plain = re.sub(r"[^\w\s-]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)).strip().lower()
        if not re.search(r"\s[\s-]", plain):  # here the two would not agree
            found.add(plain.replace(" ", "-"))
    return found


def commands(page: Path, name: str) -> Iterator[list[str]]:
    """The arguments of every call of `name` in the code of a page."""
    text = page.read_text()
    lines = [line for _, code in FENCE.findall(text) for line in code.replace("\\\n", " ").splitlines()]
    lines += [line for code in INDENTED.findall(FENCE.sub("", text)) for line in code.splitlines()]
    lines += INLINE.findall(prose(page))
    for line in lines:
        found = re.match(rf"\s*(?:\$ )?(?:\.venv/bin/)?{re.escape(name)} (.*)", line)
        if found:
            words = shlex.split(found[1], comments=True)
            ends = [place for place, word in enumerate(words) if word in ("&", "|", "&&", ";")]
            yield words[: ends[0]] if ends else words


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(INLINE.sub("", prose(page))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(file), f"{page}: {target}"


@every_page
def test_links_of_the_site_stay_in_the_site(page: Path) -> None:
    docs = ROOT / "docs"
    if page.is_relative_to(docs):
        targets = [
            one for one in LINK.findall(INLINE.sub("", prose(page))) if not re.match(r"[a-z]+:|#", one)
        ]
        assert all((page.parent / one).resolve().is_relative_to(docs) for one in targets)


@every_page
def test_lines_are_short(page: Path) -> None:
    for number, line in enumerate(page.read_text().splitlines(), start=1):
        excepted = line.startswith("|") or "](" in line or "http" in line
        assert excepted or len(line) <= LONGEST, f"{page}:{number}"


@every_page
def test_paths_exist(page: Path) -> None:
    for code in INLINE.findall(prose(page)):
        first = code.split("/")[0]
        if (first in PLACES and "/" in code) or (
            re.fullmatch(r"[\w-]+\.(md|toml)", code) and code[0].isupper()
        ):
            assert (ROOT / code).exists(), f"{page}: {code}"


@every_page
def test_commands_are_understood(page: Path) -> None:
    """By the command's own parser; nothing is run. A mere name in the text needs no arguments."""
    group = typer.main.get_command(main)
    for words in commands(page, "longtail"):
        if words[0].startswith("-"):
            assert words == ["--version"], f"{page}: longtail {shlex.join(words)}"
            continue
        assert words[0] in group.commands, f"{page}: longtail {shlex.join(words)}"
        if words[1:]:
            group.commands[words[0]].make_context(words[0], words[1:])


@every_page
def test_settings_of_commands_are_known(page: Path) -> None:
    for words in [*commands(page, "longtail"), *commands(page, "python -m")]:
        changes = [after for word, after in zip(words, words[1:], strict=False) if word == "--set"]
        load_recipe("demo", [change for change in changes if not change.startswith("resources.pool")])


@every_page
def test_jobs_exist(page: Path) -> None:
    for module, *rest in commands(page, "python -m"):
        if module.startswith("jobs"):
            assert (ROOT / module.replace(".", "/")).with_suffix(".py").exists(), f"{page}: {module}"
        if "--recipe" in rest:
            assert (ROOT / rest[rest.index("--recipe") + 1]).exists(), f"{page}: {rest}"


@every_page
def test_recipes_that_are_named_are_shipped(page: Path) -> None:
    text = prose(page)
    named = [words[1] for words in commands(page, "longtail") if words[0] in ("run", "serve") and words[1:]]
    named = [name for name in named if not name.endswith(".yaml")]
    named += re.findall(r"\b[Rr]ecipes? `([\w-]+)`", text)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        header, _, *rows = [[cell.strip() for cell in row.split("|")] for row in table.splitlines()]
        if "recipe" in header:
            column = header.index("recipe")
            named += [name for row in rows for name in re.findall(r"^`([\w-]+)`$", row[column])]
    assert set(named) <= SHIPPED


@every_page
def test_yaml_is_a_recipe_or_a_part_of_one(page: Path, tmp_path: Path) -> None:
    demo = yaml.safe_load((ROOT / "app/longtail/recipes/demo.yaml").read_text())
    if page.name == "extending.md":
        pytest.skip("its strategy and recommender are installed by tests/test_extending.py")
    for code in blocks(page, "yaml"):
        part = yaml.safe_load(code)
        whole = part if "name" in part else demo | part
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(whole))
        load_recipe(tmp_path / "recipe.yaml")


def test_readme_is_read_at_once() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert next(number for number, line in enumerate(lines) if line.startswith("    make ")) <= SCREEN
    assert len(lines) <= 3 * SCREEN


def test_words_of_the_readme_are_those_of_the_report() -> None:
    lines = re.findall(r"^- \*\*(.+?)\*\*: (.+)\.$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert len(lines) >= 5
    assert {word: GLOSSARY[word] for word, _ in lines} == dict(lines)


def test_site_has_every_page() -> None:
    config = yaml.safe_load((ROOT / "docs/site/mkdocs.yml").read_text())
    listed, waiting = set(), [config["nav"]]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, str):
            listed.add(entry)
        else:
            waiting += entry.values() if isinstance(entry, dict) else entry
    assert listed == {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}


def test_what_the_site_needs_is_pinned() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pins = dict(
        line.split("==") for line in (ROOT / "requirements/docs.txt").read_text().split() if "==" in line
    )
    assert all(need.specifier.contains(pins.get(need.name, "0")) for need in map(Requirement, extras["docs"]))


def test_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """Every `bash` block, in order, in an empty folder."""
    code = "\n".join(["set -euo pipefail", *blocks(ROOT / "docs/tutorial.md", "bash")])
    paths = f"{Path(sys.executable).parent}:{environment()['PATH']}"
    done = subprocess.run(
        ["bash", "-c", code], cwd=tmp_path, env=environment(PATH=paths), capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    known, adhoc, unknown = re.findall(r'"user_known":\s*(\w+)', done.stdout)
    assert (known, unknown) == ("true", "false"), done.stdout
