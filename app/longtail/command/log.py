"""What a command writes to standard error: bars and lines at a terminal, one record per line in a pipe.

Lines that do not come from our logger (Ray's C++, compilers, warnings, workers) become records too; none is lost.
"""

import json
import logging
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import Annotated, Any, TextIO

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from longtail.command.capture import captured, plain, standard_error
from longtail.progress import FIGURES, duration

LINE_SECONDS = 10.0
"""In a pipe the progress of a piece of work is logged once in this time, and at its end."""
WIDE = 10_000
"""Columns of the results in a pipe, so that nothing is wrapped or cut."""
COLOURS = {logging.WARNING: "yellow", logging.ERROR: "bold red", logging.CRITICAL: "bold red"}


class Form(StrEnum):
    text = "text"
    json = "json"


LogOption = Annotated[
    Form,
    typer.Option(
        "--log",
        help="The log on standard error: text (bars at a terminal, one record per line in a pipe), or JSON lines.",
        rich_help_panel="Output",
    ),
]


def results() -> Console:
    """Standard output. Tables are as wide as the terminal; in a pipe they have their full width."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDE)


@contextmanager
def speaking(form: Form = Form.text) -> Iterator[None]:
    """During the block, all messages of this process go through the logger `longtail` to standard error."""
    logger = logging.getLogger("longtail")
    before = logger.handlers[:], logger.level, logger.propagate
    with ExitStack() as stack:
        stream = stack.enter_context(standard_error())
        if form is Form.text and stream.isatty():
            handler: logging.Handler = stack.enter_context(Screen(stream))
        else:
            handler = Lines(stream, form)
        logger.handlers[:], logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
        stack.callback(_put_back, logger, *before)
        stack.enter_context(captured())
        yield


def _put_back(logger: logging.Logger, handlers: list[logging.Handler], level: int, propagate: bool) -> None:
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


class _Due:
    """Whether a record about progress is written to a pipe: one in LINE_SECONDS per piece of work, and the last one."""

    def __init__(self) -> None:
        self.said: dict[str, float] = {}

    def __call__(self, figures: dict[str, Any]) -> bool:
        now, about = time.monotonic(), figures["about"]
        due = now - self.said.setdefault(about, now) >= LINE_SECONDS
        if due:
            self.said[about] = now
        return due or (figures["done"] >= figures["total"] > 1)


class Lines(logging.Handler):
    """One record per line: `2026-01-31 18:06:01 info    words`, or a JSON object with the figures and a traceback."""

    def __init__(self, stream: TextIO, form: Form) -> None:
        super().__init__()
        self.stream, self.form, self.due = stream, form, _Due()

    def emit(self, record: logging.LogRecord) -> None:
        figures = getattr(record, FIGURES, None) or {}
        if "done" in figures and not self.due(figures):
            return
        try:
            self.stream.write(self._json(record, figures) if self.form is Form.json else self._text(record))
            self.stream.flush()
        except Exception:
            self.handleError(record)

    def _text(self, record: logging.LogRecord) -> str:
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        head = f"{began} {record.levelname.lower():7} "
        lines = [*record.getMessage().splitlines(), *_traceback(record).splitlines()]
        return "".join(f"{head}{plain(line)}\n" for line in lines if line.strip())

    def _json(self, record: logging.LogRecord, figures: dict[str, Any]) -> str:
        said = {
            "time": record.created,
            "level": record.levelname.lower(),
            "source": record.name,
            "message": plain(record.getMessage()),
        }
        trace = {"traceback": plain(_traceback(record))} if record.exc_info else {}
        # JSON cannot hold NaN and infinity.
        finite = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in figures.items()
        }
        return json.dumps(said | finite | trace, default=str) + "\n"


class Screen(logging.Handler):
    """Lines above bars: one bar for the stage and one for each piece of work that logs its progress."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.console = Console(file=stream, highlight=False)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True)),
            # In a narrow terminal only the bar becomes shorter.
            _Bar(bar_width=None, table_column=Column(ratio=1)),
            _Amount(table_column=Column(no_wrap=True)),
            TimeElapsedColumn(),
        )
        quiet = {"redirect_stdout": False, "redirect_stderr": False}
        self.bars = Progress(*columns, console=self.console, transient=True, expand=True, **quiet)
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> "Screen":
        self.bars.start()
        return self

    def __exit__(self, *fault: object) -> None:
        self.bars.stop()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            figures = getattr(record, FIGURES, None) or {}
            if "stage" in figures:
                for name in list(self.tasks):
                    self._end(name)
                self.tasks[""] = self.bars.add_task(record.getMessage(), total=None)
            elif "ended" in figures:
                self._end(figures["about"])
            elif "done" in figures:
                self._move(figures)
                if figures["done"] < figures["total"] or figures["total"] == 1:
                    return
            at = Text(time.strftime("%H:%M:%S ", time.localtime(record.created)), style="dim")
            level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
            said = level + record.getMessage() + ("\n" + _traceback(record) if record.exc_info else "")
            words = Text.from_ansi(said, style=COLOURS.get(record.levelno, ""))
            self.console.print(at + words, soft_wrap=True)
        except Exception:
            self.handleError(record)

    def _end(self, name: str) -> None:
        if name in self.tasks:
            self.bars.remove_task(self.tasks.pop(name))

    def _move(self, figures: dict[str, Any]) -> None:
        name, done, total = figures["about"], figures["done"], figures["total"]
        if done >= total:
            self._end(name)
            return
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(name, total=total, figures=figures)
        self.bars.update(self.tasks[name], completed=done, total=total, figures=figures)


class _Bar(BarColumn):
    def render(self, task: Task) -> Any:
        return super().render(task) if task.total else Text("")


class _Amount(ProgressColumn):
    """«120/500 requests, 12/s, 32 s left» by the worker's own measure, without the slow start of an engine."""

    def render(self, task: Task) -> Text:
        figures = task.fields.get("figures")
        if not figures:
            return Text("")
        words = f"{figures['done']:,}/{figures['total']:,} {figures['unit']}"
        if figures["seconds_left"] is not None:
            words += f", {figures['per_second']:.3g}/s, {duration(figures['seconds_left'])} left"
        return Text(words)


def _traceback(record: logging.LogRecord) -> str:
    return logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
