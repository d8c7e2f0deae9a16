"""Work on chunks in other processes, a few chunks ahead of whoever takes the results, in order.

for rows, facts in map_ahead(chunks, facts_of_images, workers=2): ...
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from typing import Any, TypeVar

Local = TypeVar("Local")
Task = TypeVar("Task", bound=Sequence[Any])
Result = TypeVar("Result")

_AHEAD = 4  # chunks under way for each process
_HERE = 4  # chunks worked on here before processes are started


def map_ahead(
    chunks: Iterable[tuple[Local, Task]], work: Callable[[Task], Result], workers: int
) -> Iterator[tuple[Local, Result]]:
    """Each pair with its second part, a sequence, worked on; the first stays here. `work` must be importable.

    With fewer than two workers the work stays here, too, and so do empty tasks and the first few, which are done sooner
    than other processes are started. At most a few chunks a worker are in memory.
    """
    context = get_context("forkserver")  # a fork of a process that has threads may wait for ever
    context.set_forkserver_preload([work.__module__])
    begun, pool = 0, None
    waiting: deque[tuple[Local, Future[Result]]] = deque()
    with ExitStack() as stack:
        for local, task in chunks:
            if not task or begun < _HERE or workers < 2:
                begun += bool(task)
                waiting.append((local, _done(work(task))))
            else:
                pool = pool or stack.enter_context(ProcessPoolExecutor(workers, context))
                waiting.append((local, pool.submit(work, task)))
            if len(waiting) >= (_AHEAD * workers if pool else 1):
                first, future = waiting.popleft()
                yield first, future.result()
        for local, future in waiting:
            yield local, future.result()


def _done(result: Result) -> Future[Result]:
    future: Future[Result] = Future()
    future.set_result(result)
    return future
