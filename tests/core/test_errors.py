"""A full disk and full memory are known by whoever reports them, and nothing else is taken for one."""

from __future__ import annotations

import errno

import pytest

from emocaliber.core.errors import out_of_space


@pytest.mark.parametrize(
    ("error", "lacking"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a"), "disk"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "a"), "disk"),
        (ValueError('Error while serializing: I/O error: Os { code: 28, message: "No space left on device" }'), "disk"),
        (RuntimeError("[enforce fail at inline_container.cc:862] . PytorchStreamWriter failed writing file"), "disk"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 100672 vs 100564"), "disk"),
        (MemoryError(), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), "memory"),
        (OSError(errno.ENOENT, "No such file or directory", "a"), None),
        (RuntimeError("shape '[96, 0]' is invalid for input of size 48"), None),
    ],
)
def test_what_has_run_out_is_named(error: BaseException, lacking: str | None) -> None:
    assert out_of_space(error) == lacking
