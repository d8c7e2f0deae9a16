"""The error that a person can correct, the nearest of several names, and what has run out of space. A bug keeps its
traceback.

What the message should look like:

    raise UserError("recipes/tiny/1-label.yaml: unknown key 'learning-rate'; did you mean 'learning_rate'?")
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from typing import Literal


class UserError(Exception):
    """Bad input: the message names the file, the row and the key, and says how to correct it.

    The command line prints the message as one line on stderr and ends with exit code 2.
    """


def did_you_mean(value: object, choices: Iterable[str]) -> str:
    """ "; did you mean 'score'?" where one of the choices is close, else nothing."""
    close = difflib.get_close_matches(str(value), list(choices), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


FULL = {errno.ENOSPC: "No space left on device", errno.EDQUOT: "Disk quota exceeded", errno.EFBIG: "File too large"}
"""What the system says of a full disk, a full quota and a file above the limit (`ulimit -f`)."""
_UNWRITTEN = ("PytorchStreamWriter failed writing file", "iostream error", "unexpected pos")
"""torch.save's words for a file that could not be written; it does not say why."""
_NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "CUDA out of memory")


def out_of_space(error: BaseException) -> Literal["disk", "memory"] | None:
    """What has run out, or None where the error is another one."""
    message = str(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return "disk"
    if any(sentence in message for sentence in (*FULL.values(), *_UNWRITTEN)):
        return "disk"
    if isinstance(error, MemoryError) or any(sentence in message for sentence in _NO_MEMORY):
        return "memory"
    return None
