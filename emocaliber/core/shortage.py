"""Full disks and full memory, whoever reports them: Python, torch's C++ and safetensors' Rust each do it their own way.

Not a retry: what was saved is kept, and the same command goes on from there.

    if lacking := shortage(error): print(f"the {lacking} is full")
"""

from __future__ import annotations

import errno
from typing import Literal

FULL = {errno.ENOSPC: "No space left on device", errno.EDQUOT: "Disk quota exceeded", errno.EFBIG: "File too large"}
"""What the system says of a full disk, a full quota and a file above the limit (`ulimit -f`)."""
_UNWRITTEN = ("PytorchStreamWriter failed writing file", "iostream error", "unexpected pos")
"""torch.save's words for a file that could not be written; it does not say why."""
_NO_MEMORY = ("can't allocate memory", "Cannot allocate memory", "CUDA out of memory")


def shortage(error: BaseException) -> Literal["disk", "memory"] | None:
    """What has run out, or None where the error is another one."""
    told = str(error)
    if isinstance(error, OSError) and error.errno in FULL:
        return "disk"
    if any(sentence in told for sentence in (*FULL.values(), *_UNWRITTEN)):
        return "disk"
    if isinstance(error, MemoryError) or any(sentence in told for sentence in _NO_MEMORY):
        return "memory"
    return None
