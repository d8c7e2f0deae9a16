"""Full disks and full memory, whoever reports them: Python, torch's C++ and safetensors' Rust each do it their own way.

What was saved is kept, and the same command resumes.

    if resource := out_of_space(error): print(f"the {resource} is full")
"""

from __future__ import annotations

import errno
from typing import Literal

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
