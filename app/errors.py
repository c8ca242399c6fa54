"""The errors that the command explains in one message."""


class InputError(Exception):
    """Bad input: the message names the file, the row or key, the value, and the fix. The command exits with 2."""


class EngineError(Exception):
    """An engine that cannot be had: the message says what was tried, and where to look. The command exits with 1."""
