"""What batching users together brings: many users at the real page's desk, the tiny model on vLLM, one machine.

Not a benchmark of models, nor of browsers: users are coroutines that send a picture through the guard, ask through the
desk as the page's button does, read the answer, and ask the next. Twice the same: batches of all who wait, and one
question at a time.

    export VLLM_CPU_KVCACHE_SPACE=1 VLLM_ENABLE_V1_MULTIPROCESSING=0 OMP_NUM_THREADS=1
    python eval/benchmarks/chat.py --users 20 --seconds 120
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import cycle

import httpx
import numpy as np
import uvicorn

from emocaliber.chat.address import bind
from emocaliber.chat.batching import Batcher
from emocaliber.chat.desk import Desk
from emocaliber.chat.models import ModelChoice, add_model_arguments, model_choice
from emocaliber.chat.pictures import Waiting
from emocaliber.chat.server import build_application
from emocaliber.chat.session import Session
from emocaliber.core.environment import usable_cores
from emocaliber.core.predictions import State
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.data.embedded import load
from emocaliber.generation.engine import Engine

SHORTER = 4
"""One at a time is measured for a quarter of the time: its rate is steady, and it is the slow half."""


@dataclass
class Tally:
    """Seconds from sending a picture to its answer, what went wrong, and until the last answer the seconds
    by the clock and those of CPU, which a busy machine leaves alone."""

    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    cpu: float = 0.0
    errors: list[str] = field(default_factory=list)


async def use(pictures: Sequence[bytes], url: str, desk: Desk, until: float, tally: Tally) -> None:
    """One user, on a connection of their own: a picture, a question, the answer, and again."""
    async with httpx.AsyncClient(base_url=url, timeout=120, verify=False) as client:
        await _ask_on(cycle(pictures), client, desk, until, tally)


async def _ask_on(pictures: Iterator[bytes], client: httpx.AsyncClient, desk: Desk, until: float, tally: Tally) -> None:
    for encoded in pictures:
        if time.monotonic() > until:
            return
        began = time.monotonic()
        reply = await client.post("/pictures", content=encoded, headers={"x-picture-name": "face.png"})
        if reply.status_code != httpx.codes.OK:
            tally.errors.append(reply.text)
            continue
        session, _, problem = desk.received(Session(), [reply.json()["token"]], [])
        async for update in desk.ask(session, KAOMOJI_10.name, "", "", 0.7):
            if not isinstance(update, str):  # else it is what is being written
                session, _, problem, _, _ = update
        read = [turn.read(desk.choice, 0.7) for turn in session.turns]
        if problem or [answer.state for answer in read] != [State.OK]:
            tally.errors.append(problem or read[0].sentence)
        tally.seconds.append(time.monotonic() - began)


def measure(choice: ModelChoice, engine: Engine, users: int, seconds: float, together: int) -> Tally:
    """That many users for that long, at a page whose batches hold at most `together` questions."""
    batcher, listening = Batcher(lambda: engine, together=together), bind("127.0.0.1", 0)
    desk = Desk(choice, batcher, Waiting())
    application = build_application(desk, KAOMOJI_10.labels, 0.7)
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", ws="none"))
    serving = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    serving.start()
    tally = Tally()
    pictures = [row.image for row in load("kaomoji", "test") if isinstance(row.image, bytes)]

    async def everyone() -> None:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        began, cpu = time.monotonic(), time.process_time()
        until = began + seconds
        await asyncio.gather(*(use(pictures[user::users], url, desk, until, tally) for user in range(users)))
        tally.elapsed, tally.cpu = time.monotonic() - began, time.process_time() - cpu

    asyncio.run(everyone())
    server.should_exit = True
    serving.join()
    batcher.close()
    print(f"  largest batch {max(batcher.batches)}, mean {np.mean(batcher.batches):.1f}", flush=True)
    return tally


def report(name: str, tally: Tally) -> float:
    """Print one line; returns answers a second."""
    rate = len(tally.seconds) / tally.elapsed
    middle, high = np.percentile(tally.seconds, [50, 95])
    print(
        f"{name}: {len(tally.seconds)} answers, {rate:.1f} a second, median {middle:.2f} s, p95 {high:.2f} s,"
        f" {1000 * tally.cpu / len(tally.seconds):.0f} ms of CPU an answer,"
        f" errors {len(tally.errors)} {sorted(set(tally.errors))[:3]}",
        flush=True,
    )
    return rate


def main() -> None:
    """Print both lines and how much batching brings."""
    parser = argparse.ArgumentParser(description="Measure users who ask at once against one question at a time.")
    parser.add_argument("--users", type=int, default=20, help="default: 20")
    parser.add_argument("--seconds", type=float, default=120.0, help="default: 120")
    add_model_arguments(parser)
    parser.set_defaults(engine="vllm")
    arguments = parser.parse_args()
    choice = model_choice(arguments)
    engine = choice.load()
    print(f"{date.today()}, {usable_cores()} CPU cores, {arguments.users} users, {choice.title} on {arguments.engine}")
    measure(choice, engine, arguments.users, 5.0, 32)
    together = report("together", measure(choice, engine, arguments.users, arguments.seconds, 32))
    shorter = arguments.seconds / SHORTER
    alone = report("one at a time", measure(choice, engine, arguments.users, shorter, 1))
    print(f"together is {together / alone:.1f} times one at a time")


if __name__ == "__main__":
    main()
