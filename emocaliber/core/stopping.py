"""Stopping for good: a signal ends a command and every process that it started, within ten seconds.

A scheduler or `timeout` sends SIGTERM, Ctrl-C SIGINT: both raise in the main thread, so that what is open is closed;
whatever still runs after DEADLINE is ended. Nothing can be done at kill -9 by the process it strikes, so each process
that is started watches its parent.

    with prompt_stop():                    # around the command
        ...
    end_with_parent()                      # first thing in each process that it starts
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
"""Seconds from the signal to the end."""
LOOK = 1.0  # seconds between two looks at the parent
STOPPED = "emocaliber: stopped; the same command resumes"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, raised as Ctrl-C is: no `except Exception` stands in its way."""


def exit_code(number: int) -> int:
    """What a shell reports of a command that this signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + number


@contextmanager
def prompt_stop() -> Iterator[None]:
    """Inside, SIGINT raises KeyboardInterrupt and SIGTERM TerminatedError, and the process ends DEADLINE seconds after
    the first of them at the latest, or at the second.

    The main thread may be deep in a kernel and see no signal before it returns; a thread of its own hears it at once.
    Elsewhere than in the main thread, which alone may handle signals, nothing is changed.
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
    """Wait for a signal, then for a second one or the deadline; returns where the command ends before any."""
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
        if not second:  # the command has ended, its exit handlers may still wait for something
            time.sleep(left)
        elif second[0] in SIGNALS:
            break
    for child in multiprocessing.active_children():
        child.kill()
    print(STOPPED, file=sys.stderr, flush=True)
    os._exit(exit_code(first[0]))


def end_with_parent() -> None:
    """Let this process be killed within about a second of its parent's end, however that came."""
    started_by = multiprocessing.parent_process()
    parent = os.getppid() if started_by is None else started_by.pid
    threading.Thread(target=_watch, args=(parent,), name="parent-watch", daemon=True).start()


def _watch(parent: int | None) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    for child in multiprocessing.active_children():
        child.kill()
    os.kill(os.getpid(), signal.SIGKILL)
