"""The memory that the limit of a container leaves free: psutil sees only that of the whole machine."""

from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def memory_left(available: int, mount: Path = MOUNT, own: Path = OWN) -> int:
    """Bytes that this process may still allocate: `available` of the machine, or less if a cgroup (v1 or v2) limits it.

    The limits of all parent groups count too. Pages that only cache files can be reclaimed, so they do not count as used.
    """
    left = available
    for folder in _groups(mount, own):
        for limit, usage in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            allowed, used = _number(folder / limit), _number(folder / usage)
            if allowed is not None and used is not None:
                left = min(left, max(0, allowed - used + _cached(folder / "memory.stat")))
    return left


def _groups(mount: Path, own: Path) -> list[Path]:
    """The folders of this process's memory groups and their parents. In a container the root of the mount is its group."""
    found = [mount, mount / "memory"]
    lines = own.read_text().splitlines() if own.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            folder = mount / controllers
            for name in Path(path).parts[1:]:
                found.append(folder := folder / name)
    return found


def _number(file: Path) -> int | None:
    """The number in the file; None if the file does not exist or says `max`."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _cached(file: Path) -> int:
    try:
        pairs = dict(line.split(maxsplit=1) for line in file.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(pairs.get("total_inactive_file", pairs.get("inactive_file", 0)))
