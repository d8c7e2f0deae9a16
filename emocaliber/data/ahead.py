"""Work on chunks in other processes, a few ahead of whoever takes the results, in order.

Not a job queue: nothing outlives the loop, and at most a few chunks are held at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Kept = TypeVar("Kept")
Given = TypeVar("Given")
Done = TypeVar("Done")

_AHEAD = 4  # chunks under way for each process


def worked_ahead(
    chunks: Iterable[tuple[Kept, Given]], work: Callable[[Given], Done], workers: int
) -> Iterator[tuple[Kept, Done]]:
    """Each pair with its second part worked on; what is kept stays in this process. With fewer than two workers, so
    does the work. `work` must be importable."""
    if workers < 2:
        yield from ((kept, work(given)) for kept, given in chunks)
        return
    context = get_context("forkserver")  # a fork of a process that has threads may wait for ever
    context.set_forkserver_preload([work.__module__])
    with ProcessPoolExecutor(workers, context) as pool:
        waiting: deque[tuple[Kept, Future[Done]]] = deque()
        for kept, given in chunks:
            waiting.append((kept, pool.submit(work, given)))
            if len(waiting) >= _AHEAD * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        for kept, future in waiting:
            yield kept, future.result()
