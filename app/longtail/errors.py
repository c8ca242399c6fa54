"""The errors that the command explains in one message."""


class InputError(Exception):
    """Bad input: the message names the file, the row or key, the value, and the fix. The command exits with 2.

    Ray Data writes advice about retries into the arguments of what a task raises; the message stays as it was.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class EngineError(Exception):
    """An engine that cannot be had: the message says what was tried, and where to look. The command exits with 1."""
