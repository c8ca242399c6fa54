"""Runs commands of `longtail` one after the other, each in a fork of a process with all imports done: a few ms each.

Each input line is a JSON list of arguments; the reply is [exit code, output]. For tests that start hundreds of commands.
"""

import io
import json
import os
import sys
from contextlib import redirect_stderr, redirect_stdout

import longtail.augment
import longtail.cli
import longtail.data
import longtail.evaluation
import longtail.llm
import longtail.recommenders
import longtail.serving  # noqa: F401


def answer(arguments: list[str]) -> tuple[int, str]:
    """The exit code and the output of a command that does not start Ray."""
    said = io.StringIO()
    sys.argv = ["longtail", *arguments]
    with redirect_stdout(said), redirect_stderr(said):
        try:
            longtail.cli.main(arguments, prog_name="longtail")
            code = 0
        except SystemExit as ended:
            code = ended.code or 0
    return int(code), said.getvalue()


def main() -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        read, write = os.pipe()
        if not os.fork():
            with os.fdopen(write, "w") as out:
                json.dump(answer(json.loads(line)), out)
            os._exit(0)
        os.close(write)
        with os.fdopen(read) as said:
            print(said.read(), flush=True)
        os.wait()


if __name__ == "__main__":
    main()
