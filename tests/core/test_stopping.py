"""A signal ends a command in time, whatever it is doing; a process ends with its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from emocaliber.core.stopping import exit_code, prompt_stop

BUSY = """
import os, time
from emocaliber.core import stopping
stopping.DEADLINE = 1.0
with stopping.prompt_stop():{work}
"""
ORDERLY = """
    try:
        print("ready", flush=True)
        time.sleep(60)
    except stopping.TerminatedError:
        print("closed", flush=True)"""
DEAF = """
    while True:
        try:
            print("ready", flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            pass"""
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "from emocaliber.core.stopping import end_with_parent\\n"
    "import time\\nend_with_parent()\\nprint('up', flush=True)\\ntime.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def start(program: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_terminated_command_closes_what_is_open() -> None:
    process = start(BUSY.format(work=ORDERLY))
    assert line(process) == "ready"
    process.terminate()
    assert line(process) == "closed"
    assert process.wait(30) in (0, exit_code(signal.SIGTERM))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_does_not_listen_is_ended_at_the_deadline(number: signal.Signals) -> None:
    process = start(BUSY.format(work=DEAF))
    assert line(process) == "ready"
    process.send_signal(number)
    assert process.wait(30) == exit_code(number)
    assert process.stderr is not None
    assert "run the same command again to resume" in process.stderr.read()


def test_a_process_ends_with_its_parent_however_that_ends() -> None:
    parent = start(FAMILY)
    numbers = {line(parent), line(parent)}
    child = int((numbers - {"up"}).pop())
    parent.kill()
    parent.wait()
    until = time.monotonic() + 10
    while time.monotonic() < until and alive(child):
        time.sleep(0.1)
    assert not alive(child)


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_handlers_of_before_are_back_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with prompt_stop():
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] != before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_another_thread_than_the_main_one_changes_nothing() -> None:
    reached: list[bool] = []

    def work() -> None:
        with prompt_stop():
            reached.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert reached == [True]
