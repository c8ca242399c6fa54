"""How far work is: a line for people that carries its figures for bars and machines, whichever process says it."""

import logging
from typing import Any

log = logging.getLogger("longtail")
FIGURES = "figures"
"""Attribute of a log record about progress: its numbers by name."""


class Line(str):
    """A line and, for machines, its `figures`: {about, done, total, unit, per_second, seconds_left} and more.

    Work that ends early has {about, ended}, a stage of a run {about, stage, stages}.
    """

    figures: dict[str, Any]

    def __new__(cls, text: str, figures: dict[str, Any] | None = None) -> "Line":
        line = super().__new__(cls, text)
        line.figures = figures or {}
        return line


def ended(about: str, how: str) -> Line:
    """The line about work that ends before its last part."""
    return Line(f"{about}: {how}", {"about": about, "ended": True})


def figures_of(line: str) -> dict[str, dict[str, Any]]:
    """What `logging` takes as `extra` for a line."""
    return {FIGURES: getattr(line, "figures", {})}


def tell(line: str) -> None:
    """Log a line, with its figures if it has some."""
    log.info("%s", line, extra=figures_of(line))


def called(line: str, name: str) -> str:
    """The same line about something of another name."""
    text = f"{name}: {line.partition(': ')[2]}"
    return Line(text, line.figures | {"about": name}) if isinstance(line, Line) else text


def progress(
    about: str,
    done: int,
    total: int,
    unit: str,
    seconds: float,
    since: int = 0,
    note: str = "",
    at_most: bool = False,
    **more: float,
) -> Line:
    """The line about work in equal parts, `done` of `total` of them.

    seconds: what the parts after the first `since` have taken. note: ends the line. at_most: the work may end earlier.
    more: further figures. per_second and seconds_left are None as long as nothing says how fast it goes.
    """
    per_second = (done - since) / seconds if seconds > 0 and done > since else None
    left = None if per_second is None else (total - done) / per_second
    line = f"{about}: {done:,} of {total:,} {unit} ({done / max(total, 1):.0%})"
    if per_second is not None and done < total:
        line += f", {_rate(per_second)}, {'at most ' * at_most}{duration(left)} left"
    figures = {"about": about, "done": done, "total": total, "unit": unit}
    figures |= {"per_second": per_second, "seconds_left": left}
    return Line(line + (f", {note}" if note else ""), figures | more)


def _rate(per_second: float) -> str:
    """Parts a second, or what one takes if that is longer."""
    if per_second < 1:
        return f"{duration(1 / per_second)} each"
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.1f}/s"


def duration(seconds: float) -> str:
    """As a person says it: «0.4 s», «12 s», «3 min 20 s», «2 h 05 min», «3 d 4 h»."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
