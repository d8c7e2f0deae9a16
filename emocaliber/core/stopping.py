"""Signal handling: a signal ends a command and every process that it started, within ten seconds.

Schedulers and `timeout` send SIGTERM, Ctrl-C sends SIGINT. Both raise an exception in the main thread, so that open
files are closed; whatever still runs after DEADLINE is killed. A process cannot react to its own kill -9, so each child
process watches its parent.

    with prompt_stop():                    # around the command
        ...
    end_with_parent()                      # first statement of each child process
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

DEADLINE = 5.0
"""Seconds from the first signal until the process is forced to end."""
POLL = 1.0  # seconds between two checks of the parent
STOPPED = "emocaliber: stopped; run the same command again to resume"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, raised like Ctrl-C, so that no `except Exception` catches it."""


def exit_code(number: int) -> int:
    """The shell's exit code for a command ended by this signal: 130 for SIGINT (Ctrl-C), 143 for SIGTERM."""
    return 128 + number


@contextmanager
def prompt_stop() -> Iterator[None]:
    """Within the block, SIGINT raises KeyboardInterrupt and SIGTERM raises TerminatedError; the process is forced to
    end at the second signal, or DEADLINE seconds after the first.

    The main thread may be busy in native code and handle no signal until that returns, so a separate thread enforces
    the deadline. Outside the main thread, which alone may handle signals, the block changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = socket.socketpair()
    writing.setblocking(False)
    before = {number: signal.signal(number, _raise) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_end_at_deadline, args=(reading,), name="deadline", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        writing.close()


def _raise(number: int, _frame: FrameType | None) -> None:
    raise TerminatedError if number == signal.SIGTERM else KeyboardInterrupt


def _end_at_deadline(signals: socket.socket) -> None:
    """Wait for a signal, then for a second one or the deadline, and exit; returns if the command ends first."""
    while (first := signals.recv(1)) and first[0] not in SIGNALS:
        pass
    if not first:
        signals.close()
        return
    until = time.monotonic() + DEADLINE
    while (left := until - time.monotonic()) > 0:
        signals.settimeout(left)
        try:
            second = signals.recv(1)
        except TimeoutError:
            break
        if not second:  # the command has ended, but its exit handlers may hang
            time.sleep(left)
        elif second[0] in SIGNALS:
            break
    for child in multiprocessing.active_children():
        child.kill()
    print(STOPPED, file=sys.stderr, flush=True)
    os._exit(exit_code(first[0]))


def end_with_parent() -> None:
    """Kill this process within about a second of its parent's end, however the parent ended."""
    started_by = multiprocessing.parent_process()
    parent = os.getppid() if started_by is None else started_by.pid
    threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def _watch(parent: int | None) -> None:
    while os.getppid() == parent:
        time.sleep(POLL)
    for child in multiprocessing.active_children():
        child.kill()
    os.kill(os.getpid(), signal.SIGKILL)
