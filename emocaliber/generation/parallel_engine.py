"""Data parallelism: several engines of one kind, a process and a device each, that take small batches from one queue.

Not shards: no engine has a share of its own, so a fast one does more, none waits for the slowest, and nothing is lost
to rounding. An engine process that dies hands its batch to another.

    emocaliber predict kaomoji --engine vllm --data-parallel 8 --model DIR --out out/answers
"""

from __future__ import annotations

import atexit
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import Queue
from threading import Lock, Thread
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.core.stopping import end_with_parent
from emocaliber.generation.engine import ENGINE_ERROR, Engine, Request, Response

ATTEMPTS = 2
"""A batch that two engine processes died of is an engine error: it would end all of them, one after another."""
PATIENCE = 60.0  # seconds that an engine process has to end by itself


@dataclass
class _Job:
    requests: Sequence[Request]
    answers: Future[list[Response]]
    attempts: int = 0


class ParallelEngine:
    """One engine a process, each built by `build` under an environment of its own.

    `build` must be picklable; each of `environments` holds the variables to set before it is called, such as
    CUDA_VISIBLE_DEVICES. `batch_size` requests are handed over at a time. Raises UserError where an engine cannot be
    built. `generate` raises UserError once no engine process is left.
    """

    def __init__(
        self, build: Callable[[], Engine], environments: Sequence[Mapping[str, str]], *, batch_size: int = 128
    ) -> None:
        self._jobs: Queue[_Job | None] = Queue()
        self._batch_size = batch_size
        self.concurrency = 2 * len(environments)  # so that the queue still holds a batch when one is taken
        self.requests_per_call = batch_size
        self._lock = Lock()
        workers = [_Worker(build, environment) for environment in environments]
        try:
            names = [worker.wait_until_built() for worker in workers]
        except UserError:
            for worker in workers:
                worker.stop()
            raise
        self._name = names[0]
        self.processes = [worker.process_id for worker in workers]
        self._alive = len(workers)
        self._threads = [Thread(target=self._serve, args=(worker,), daemon=True) for worker in workers]
        for thread in self._threads:
            thread.start()
        atexit.register(self.close)

    @property
    def name(self) -> str:
        """That of each engine: how many of them answer changes nothing in a journal."""
        return self._name

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order. May be called from several threads."""
        size = self._batch_size
        jobs = [_Job(requests[start : start + size], Future()) for start in range(0, len(requests), size)]
        with self._lock:
            if not self._alive:
                raise _none_left()
            for job in jobs:
                self._jobs.put(job)
        return [response for job in jobs for response in job.answers.result()]

    def close(self) -> None:
        """End the engine processes, after the batches that they are answering."""
        while not self._jobs.empty():
            self._jobs.get()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, worker: _Worker) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                answers = worker.answer(job.requests)
            except (EOFError, OSError):
                self._give_up(worker, job)
                return
            job.answers.set_result(answers)
        worker.stop()

    def _give_up(self, worker: _Worker, job: _Job) -> None:
        """The worker is gone: another one answers its batch, unless that was the batch's second, or there is none."""
        job.attempts += 1
        with self._lock:
            self._alive -= 1
            if not self._alive:
                job.answers.set_exception(_none_left())
                while not self._jobs.empty():
                    if waiting := self._jobs.get():
                        waiting.answers.set_exception(_none_left())
            elif job.attempts < ATTEMPTS:
                self._jobs.put(job)
            else:
                job.answers.set_result(_failed(job.requests, f"two engine processes ended ({worker.exit_code})"))


def _failed(requests: Sequence[Request], reason: str) -> list[Response]:
    return [
        Response(request.sample_id, "", ENGINE_ERROR, choices=(None,) * len(request.choices), error=reason)
        for request in requests
    ]


def devices(count: int) -> list[dict[str, str]]:
    """The environment of each of `count` engines: one visible CUDA device each, as many engines as asked for.

    Where CUDA_VISIBLE_DEVICES names devices, these are shared out. Raises UserError where it names too few.
    """
    visible = [device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device]
    if visible and len(visible) < count:
        raise UserError(f"{count} engines need {count} devices; CUDA_VISIBLE_DEVICES names {len(visible)}")
    return [{"CUDA_VISIBLE_DEVICES": device} for device in (visible or map(str, range(count)))][:count]


def _none_left() -> UserError:
    return UserError("no engine process is left; what they answered is kept, and the same command goes on from there")


class _Worker:
    """One engine in a process of its own, seen from here. Ends by itself where this process ends."""

    def __init__(self, build: Callable[[], Engine], environment: Mapping[str, str]) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, build, dict(environment)))
        self._process.start()
        theirs.close()

    @property
    def process_id(self) -> int:
        return self._process.pid or 0

    @property
    def exit_code(self) -> str:
        self._process.join(10)
        return f"exit code {self._process.exitcode}"

    def wait_until_built(self) -> str:
        """The engine's name. Raises UserError where it could not be built."""
        try:
            built, message = self._connection.recv()
        except EOFError:
            raise UserError(f"an engine process ended before it was ready ({self.exit_code})") from None
        if not built:
            raise UserError(message)
        return str(message)

    def answer(self, requests: Sequence[Request]) -> list[Response]:
        """The answers. Raises EOFError or OSError where the process has ended."""
        self._connection.send(requests)
        answers: list[Response] = self._connection.recv()
        return answers

    def stop(self) -> None:
        self._connection.close()
        self._process.join(PATIENCE)
        if self._process.is_alive():  # its answers are here; the run ends even if the engine cannot
            warnings.warn(
                f"the engine process {self._process.pid} did not end within {PATIENCE:.0f} s of its last answer and is"
                " ended; no answer is lost",
                stacklevel=2,
            )
            self._process.kill()
            self._process.join()


def _work(connection: Connection[Any, Any], build: Callable[[], Engine], environment: dict[str, str]) -> None:
    """The process: build, then answer until the other side is gone."""
    end_with_parent()
    os.environ.update(environment)
    try:
        engine = build()
    except Exception as error:  # told to the one who asked, who names it to the user
        connection.send((False, f"{type(error).__name__}: {error}"))
        return
    try:
        connection.send((True, engine.name))
        while True:
            connection.send(engine.generate(connection.recv()))
    except (EOFError, OSError, KeyboardInterrupt):
        return
