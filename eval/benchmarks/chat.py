"""The gain of batching the questions of many users of the chat page, with the tiny model on vLLM, on one machine.

Users are coroutines that do over HTTP what the page does: open a session, send an image, ask, read the stream until the
answer is complete, and ask about the next image. It is measured twice: with all waiting questions in one batch, and
with one question at a time. No browser is involved; the serving is measured, not the model.

    export VLLM_CPU_KVCACHE_SPACE=1 VLLM_ENABLE_V1_MULTIPROCESSING=0 OMP_NUM_THREADS=1
    python eval/benchmarks/chat.py --users 20 --seconds 120
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import cycle

import httpx
import numpy as np
import uvicorn

from emocaliber.chat.batching import Batcher
from emocaliber.chat.controller import ChatController
from emocaliber.chat.model import ModelChoice, model_choice
from emocaliber.chat.server import bind, build_application
from emocaliber.chat.session import Sessions
from emocaliber.cli.ask import add_model_arguments
from emocaliber.core.environment import usable_cores
from emocaliber.core.images import read_image_bytes
from emocaliber.core.predictions import State
from emocaliber.data.embedded import load
from emocaliber.generation.engine import StreamingEngine

SHORTER = 4
"""One at a time is measured for a quarter of the time: its rate is steady, and it is the slow half."""


@dataclass
class Measured:
    """Seconds from sending a picture to its answer, and errors; `elapsed` and `cpu` are wall-clock and CPU seconds
    until the last answer, of which the latter does not depend on other load."""

    seconds: list[float] = field(default_factory=list)
    elapsed: float = 0.0
    cpu: float = 0.0
    errors: list[str] = field(default_factory=list)


async def use(pictures: Sequence[bytes], url: str, until: float, measured: Measured) -> None:
    """One user on a connection of their own: a picture, a question, the answer, and so on."""
    async with httpx.AsyncClient(base_url=url, timeout=120, verify=False) as client:
        setup = (await client.post("/open", content="{}")).json()
        await _keep_asking(cycle(pictures), client, setup["session"], ", ".join(setup["labels"]), until, measured)


async def _keep_asking(
    pictures: Iterator[bytes], client: httpx.AsyncClient, session: str, labels: str, until: float, measured: Measured
) -> None:
    headers = {"x-session": session, "x-picture-name": "face.png"}
    event = {"session": session, "labels": labels, "question": "", "threshold": 0.7}
    for encoded in pictures:
        if time.monotonic() > until:
            return
        began = time.monotonic()
        reply = await client.post("/picture", content=encoded, headers=headers)
        if reply.status_code != httpx.codes.OK:
            measured.errors.append(reply.text)
            continue
        async with client.stream("POST", "/ask", json=event) as stream:
            events = [json.loads(line) async for line in stream.aiter_lines()]
        states = [row["answer"]["state"] for row in events if "answer" in row]
        if states != [State.OK] or events[-1]["alert"]:
            measured.errors.append(events[-1]["status"] or str(states))
        measured.seconds.append(time.monotonic() - began)


def measure(choice: ModelChoice, engine: StreamingEngine, users: int, seconds: float, together: int) -> Measured:
    """Run that many users for that many seconds, on a server whose batches hold at most `together` questions."""
    batcher, listening = Batcher(lambda: engine, together=together), bind("127.0.0.1", 0)
    application = build_application(ChatController(choice, batcher, Sessions(), 0.7))
    server = uvicorn.Server(uvicorn.Config(application, log_level="warning", ws="none"))
    serving = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    serving.start()
    measured = Measured()
    pictures = [read_image_bytes(row.image) for row in load("kaomoji", "test")]

    async def everyone() -> None:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        began, cpu = time.monotonic(), time.process_time()
        until = began + seconds
        await asyncio.gather(*(use(pictures[user::users], url, until, measured) for user in range(users)))
        measured.elapsed, measured.cpu = time.monotonic() - began, time.process_time() - cpu

    asyncio.run(everyone())
    server.should_exit = True
    serving.join()
    batcher.close()
    print(f"  largest batch {max(batcher.batches)}, mean {np.mean(batcher.batches):.1f}", flush=True)
    return measured


def report(name: str, measured: Measured) -> float:
    """Print one line; returns answers per second."""
    rate = len(measured.seconds) / measured.elapsed
    middle, high = np.percentile(measured.seconds, [50, 95])
    print(
        f"{name}: {len(measured.seconds)} answers, {rate:.1f} a second, median {middle:.2f} s, p95 {high:.2f} s,"
        f" {1000 * measured.cpu / len(measured.seconds):.0f} ms of CPU an answer,"
        f" errors {len(measured.errors)} {sorted(set(measured.errors))[:3]}",
        flush=True,
    )
    return rate


def main() -> None:
    """Print both lines and the speed-up of batching."""
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
