"""Progress messages: a line of text for people, with its figures for progress bars and JSON logs."""

import logging
from typing import Any

log = logging.getLogger("longtail")
FIGURES = "figures"
"""Attribute of a log record about progress: its numbers by name."""


class Line(str):
    """A line of text with its `figures`: {about, done, total, unit, per_second, seconds_left}, and more if given.

    If work ends early, `figures` is {about, ended}. For a stage of a run it is {about, stage, stages}.
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
    """The argument `extra` of a `logging` call about this line."""
    return {FIGURES: getattr(line, "figures", {})}


def tell(line: str) -> None:
    """Log a line, with its figures if it has some."""
    log.info("%s", line, extra=figures_of(line))


def called(line: str, name: str) -> str:
    """The same line under another name."""
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
    """The line about work of `total` equal parts, of which `done` are finished.

    seconds: the time that the parts after the first `since` took. note: text at the end of the line. at_most: the work
    may end earlier. more: further figures. The figures per_second and seconds_left are None until the speed is known.
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
    """Parts per second, or the time of one part if it takes longer than a second."""
    if per_second < 1:
        return f"{duration(1 / per_second)} each"
    return f"{per_second:,.0f}/s" if per_second >= 10 else f"{per_second:.1f}/s"


def duration(seconds: float) -> str:
    """A time as short text: «0.4 s», «12 s», «3 min 20 s», «2 h 05 min», «3 d 4 h»."""
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
