"""The one error that a user can mend."""


class InputError(Exception):
    """Bad input: the message names the file, the row or key, the value, and the fix. The command exits with 2."""
