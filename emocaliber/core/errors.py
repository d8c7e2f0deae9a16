"""Errors: `UserError` for what the user can correct, "did you mean" hints, and out-of-space detection.

Anything that is not a UserError is a bug and keeps its traceback. What a message should look like:

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
    """ "; did you mean 'score'?" if one of the choices is similar to `value`, else ""."""
    close = difflib.get_close_matches(str(value), list(choices), 1)
    return f"; did you mean {close[0]!r}?" if close else ""


FULL = {errno.ENOSPC: "No space left on device", errno.EDQUOT: "Disk quota exceeded", errno.EFBIG: "File too large"}
"""The system's messages for a full disk, an exhausted quota and a file above the size limit (`ulimit -f`)."""
_UNWRITTEN = ("PytorchStreamWriter failed writing file", "iostream error", "unexpected pos")
"""torch.save's messages when it cannot write a file; they do not say why."""
_NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "CUDA out of memory")


def out_of_space(error: BaseException) -> Literal["disk", "memory"] | None:
    """Which resource has run out, or None if the error has another cause."""
    message = str(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return "disk"
    if any(sentence in message for sentence in (*FULL.values(), *_UNWRITTEN)):
        return "disk"
    if isinstance(error, MemoryError) or any(sentence in message for sentence in _NO_MEMORY):
        return "memory"
    return None
