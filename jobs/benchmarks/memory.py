"""Peak memory of work in its own process, so that nothing else is counted."""

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any


def in_fresh_process(module: str, *arguments: object) -> Any:
    """The JSON in the last line that `python -m module arguments` prints. Raises RuntimeError with its errors."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_gib() -> float:
    """The peak resident memory of this process, in GiB."""
    status = Path("/proc/self/status")
    if status.exists():
        # VmHWM is of this program alone. The peak from getrusage includes that of the process that started it.
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    unit = 1 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
