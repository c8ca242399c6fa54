"""`python -m longtail`: the command, where the package is there and its script is not."""

import os
import sys
from pathlib import Path

# The working folder comes first on the path then: a file `torch.py` there would be taken for the module.
if sys.path[0] == os.getcwd() != str(Path(__file__).resolve().parents[1]) and not sys.flags.safe_path:
    del sys.path[0]

from longtail.cli import main  # noqa: E402

main(prog_name="longtail")
