"""Peak memory of work in a process of its own, so that nothing else counts."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any


def in_fresh_process(module: str, *arguments: object) -> Any:
    """What `python -m module arguments` prints as its last line of JSON. Raises RuntimeError with its errors."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_gib() -> float:
    """The most memory this process ever had resident, GiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # Of this program alone: what getrusage tells starts with the peak of the process that started it.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
