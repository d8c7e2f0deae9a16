"""Work on chunks in other processes, a few chunks ahead of whoever takes the results, in order.

for rows, facts in map_ahead(chunks, facts_of_images, workers=2): ...
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

Local = TypeVar("Local")
Task = TypeVar("Task")
Result = TypeVar("Result")

_AHEAD = 4  # chunks under way for each process


def map_ahead(
    chunks: Iterable[tuple[Local, Task]], work: Callable[[Task], Result], workers: int
) -> Iterator[tuple[Local, Result]]:
    """Each pair with its second part worked on; the first stays in this process. With fewer than two workers, so does
    the work. `work` must be importable. At most a few chunks a worker are in memory."""
    if workers < 2:
        yield from ((local, work(task)) for local, task in chunks)
        return
    context = get_context("forkserver")  # a fork of a process that has threads may wait for ever
    context.set_forkserver_preload([work.__module__])
    with ProcessPoolExecutor(workers, context) as pool:
        waiting: deque[tuple[Local, Future[Result]]] = deque()
        for local, task in chunks:
            waiting.append((local, pool.submit(work, task)))
            if len(waiting) >= _AHEAD * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        for local, future in waiting:
            yield local, future.result()
