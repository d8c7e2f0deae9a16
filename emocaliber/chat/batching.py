"""Batching: questions of all users go to the engine together, in the order in which they came.

One thread loads the model and then answers whatever has gathered while it was busy with the batch before.

    batcher = Batcher(choice.load)
    pending = batcher.submit(request)
    pending.text, pending.result()
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from emocaliber.core.errors import UserError
from emocaliber.generation.engine import Request, Response, StreamingEngine

MOST_TOGETHER = 32
MOST_WAITING = 256
GATHERING = 0.1
"""Seconds to wait for those who were there when the last batch ended: users who wait together ask again together."""


class BusyError(Exception):
    """The queue is full, or the model could not be loaded; the message is for the user."""


class PendingAnswer(Future[Response]):
    """A future response; `text` is the answer so far, if the engine streams."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._abandoned = False

    def abandon(self) -> None:
        """Give up the answer: it is not queried, or stopped if it is being generated."""
        if not self.cancel():
            self._abandoned = True

    def on_token(self, text: str) -> bool:
        """Receive the answer so far; returns whether anybody still waits for it."""
        self.text = text
        return not self._abandoned


class Batcher:
    """A queue in front of one engine, which is loaded in the background.

    `together` is the largest batch, `waiting` the longest queue, `gathering` in seconds. Thread-safe.
    """

    def __init__(
        self,
        load: Callable[[], StreamingEngine],
        *,
        together: int = MOST_TOGETHER,
        waiting: int = MOST_WAITING,
        gathering: float = GATHERING,
    ) -> None:
        self._load, self._together, self._waiting, self._gathering = load, together, waiting, gathering
        self._queue: deque[tuple[Request, PendingAnswer]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._loaded = threading.Event()
        self._failure = ""
        self._company = 1
        self.batches: list[int] = []
        self._worker = threading.Thread(target=self._work, name="engine", daemon=True)
        self._worker.start()

    @property
    def loading(self) -> bool:
        """Whether the model is still being loaded."""
        return not self._loaded.is_set()

    @property
    def failure(self) -> str:
        """Why the model could not be loaded; empty if it was, or is still loading."""
        return self._failure

    @property
    def waiting(self) -> int:
        """The number of waiting questions."""
        return len(self._queue)

    def wait_until_loaded(self, timeout: float | None = None) -> bool:
        """Wait at most `timeout` seconds for loading to end; returns whether it did, successfully or not."""
        return self._loaded.wait(timeout)

    def submit(self, request: Request) -> PendingAnswer:
        """The future response. Raises BusyError."""
        with self._changed:
            if self._failure:
                raise BusyError(f"The model could not be loaded: {self._failure}")
            if self._closed or len(self._queue) >= self._waiting:
                raise BusyError(f"{len(self._queue)} questions are waiting already. Try again in a moment.")
            future = PendingAnswer()
            self._queue.append((request, future))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Stop after the current batch; waiting questions are cancelled."""
        with self._changed:
            self._closed = True
            self._give_up(None)
            self._changed.notify()

    def _work(self) -> None:
        try:
            engine = self._load()
        except Exception as error:  # whatever it is, those who wait must hear of it
            with self._changed:
                self._failure = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                self._give_up(BusyError(f"The model could not be loaded: {self._failure}"))
            return
        finally:
            self._loaded.set()
        while batch := self._next_batch():
            self._answer(engine, batch)

    def _next_batch(self) -> list[tuple[Request, PendingAnswer]]:
        """The waiting questions, without cancelled ones; empty once closed."""
        with self._changed:
            while not self._closed:
                self._gather()
                batch: list[tuple[Request, PendingAnswer]] = []
                while self._queue and len(batch) < self._together:
                    request, future = self._queue.popleft()
                    if future.set_running_or_notify_cancel():
                        batch.append((request, future))
                if batch:
                    return batch
                self._changed.wait()
        return []

    def _gather(self) -> None:
        """Wait briefly for as many questions as the last batch had, since their users may ask again. A single user does
        not wait."""
        if not self._queue:
            return
        until, company = time.monotonic() + self._gathering, min(self._company, self._together)
        while not self._closed and len(self._queue) < company and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)

    def _answer(self, engine: StreamingEngine, batch: list[tuple[Request, PendingAnswer]]) -> None:
        self.batches.append(len(batch))
        try:
            pending = {id(request): future for request, future in batch}
            responses = engine.stream(
                [request for request, _ in batch], lambda request, text: pending[id(request)].on_token(text)
            )
            self._company = len(batch) + len(self._queue)
            for (_, future), response in zip(batch, responses, strict=True):
                future.set_result(response)
        except Exception as error:  # an engine promises to raise nothing of one request; the page must outlive all
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)

    def _give_up(self, reason: Exception | None) -> None:
        while self._queue:
            _, future = self._queue.popleft()
            if reason is None:
                future.cancel()
            elif future.set_running_or_notify_cancel():
                future.set_exception(reason)
