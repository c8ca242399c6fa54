"""The real `longtail` as a process of its own, through a pipe or at a terminal."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COMMAND = str(Path(sys.executable).with_name("longtail"))
RECIPE = """name: tiny
dataset: {simulation: {users: 60, items: 40, tastes: 4}}
variants: [observed]
recommenders: {itemcf: {}, bpr: {epochs: 3, validate_every: 1}}
"""
"""Asks no LLM: seconds, besides Ray's start."""


def environment(**more: str) -> dict[str, str]:
    """The tests' own, without a Ray and a terminal of theirs, and with the package that is tested."""
    others = ("RAY_", "PYTHONPATH", "COLUMNS", "LINES")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return kept | {"PYTHONPATH": str(ROOT / "app")} | more


def piped(*arguments: object, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """The command with standard output and standard error in pipes."""
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=900,
    )


def at_a_terminal(
    *arguments: object, cwd: Path, columns: int = 80, command: tuple[str, ...] = (COMMAND,)
) -> tuple[int, str]:
    """The command at a terminal of so many columns: its exit code, and all that it drew there."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [*command, *map(str, arguments)],
        cwd=cwd,
        env=environment(TERM="xterm-256color"),
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
    )
    os.close(inner)
    drawn = bytearray()
    try:
        while chunk := os.read(outer, 1 << 16):
            drawn += chunk
    except OSError:  # the other end is closed
        pass
    os.close(outer)
    return process.wait(timeout=60), drawn.decode(errors="replace")


def without_codes(drawn: str) -> str:
    """What is drawn, without colours, links and moves of the cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\]8;[^\x1b]*\x1b\\", "", drawn).replace("\r", "")
