"""The group of commands. If a call is wrong, one line says why and gives the nearest name."""

import logging
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from longtail.command.log import speaking

CallError = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
"""The base of all errors of a call. Typer has its own copy of Click, and exports only some of its errors."""


class Commands(TyperGroup):
    """Commands in the order of the source code."""

    def list_commands(self, ctx: typer.Context) -> list[str]:
        return list(self.commands)

    def main(self, *arguments: Any, standalone_mode: bool = True, **options: Any) -> Any:
        if not standalone_mode:
            return super().main(*arguments, standalone_mode=False, **options)
        try:
            code = super().main(*arguments, standalone_mode=False, **options)
        except CallError as error:
            command = error.ctx.command_path if getattr(error, "ctx", None) else "longtail"
            with speaking():
                logging.getLogger("longtail").error(
                    "%s `%s --help` shows what you can give.", error.format_message().rstrip(), command
                )
            sys.exit(error.exit_code)
        sys.exit(code if isinstance(code, int) else 0)
