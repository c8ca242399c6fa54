"""Errors that the command reports in one message, without a traceback."""


class InputError(Exception):
    """Bad input. The message names the file, the row or key, the value, and the fix. The command exits with code 2.

    Ray Data adds advice about retries to the arguments of an exception that a task raises. `str` leaves that advice out.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class EngineError(Exception):
    """An engine cannot be started or reached. The message says what was tried and where to look. Exit code 1."""


def first_line(error: Exception) -> str:
    """The first line of an error's message, or the name of its class if it says nothing."""
    return (str(error) or type(error).__name__).splitlines()[0]


def bad_input(error: BaseException | None) -> InputError | None:
    """The InputError itself, or the one that a Ray task raised; None if it was another error.

    An error from Ray has the original one as `cause`. It is of the same class, but its message is a traceback.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        cause = getattr(error, "cause", None)
        if isinstance(error, InputError) and cause is None:
            return error
        error = cause or error.__cause__
    return None
