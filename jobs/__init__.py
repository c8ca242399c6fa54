"""One runnable per stage: `python -m jobs.<stage> --recipe R --workspace W`, the entry points of submitted Ray jobs."""

import os
import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[1])
# `python -m jobs.run` puts the working folder first on the path: a file `app.py` there would be taken for our package.
if sys.argv[:1] == ["-m"] and sys.path[0] == os.getcwd() != _ROOT and not sys.flags.safe_path:
    del sys.path[0]
