"""The error that a person can correct, and the nearest of several names. A bug keeps its traceback.

What the message should look like:

    raise UserError("recipes/tiny/1-label.yaml: unknown key 'learning-rate'; did you mean 'learning_rate'?")
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Bad input: the message names the file, the row and the key, and says how to correct it.

    The command line prints the message as one line on stderr and ends with exit code 2.
    """


def did_you_mean(value: object, choices: Iterable[str]) -> str:
    """ "; did you mean 'score'?" where one of the choices is close, else nothing."""
    close = difflib.get_close_matches(str(value), list(choices), 1)
    return f"; did you mean {close[0]!r}?" if close else ""
