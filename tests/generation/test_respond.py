"""Calls to an engine: as many under way as it takes, each as large as it asks for, the answers in order."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from PIL import Image

from emocaliber.core.prompting import load_template
from emocaliber.generation.engine import Request, Response
from emocaliber.generation.respond import respond
from emocaliber.generation.transformers_engine import TransformersEngine
from tests.generation.test_harness import sample

TEMPLATE = load_template("label-confidence")


class Meeting:
    """Answers a call only while another one is under way; notes how large each is."""

    name, concurrency, requests_per_call = "meeting", 2, 3

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self._both = Barrier(2, timeout=20)

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        self.sizes.append(len(requests))
        self._both.wait()
        return [Response(request.sample_id, "", "stop") for request in requests]


def test_two_calls_are_under_way_and_answers_keep_the_order() -> None:
    engine = Meeting()
    responses = list(respond([sample(number) for number in range(12)], engine, TEMPLATE))
    assert [response.sample_id for response in responses] == [str(number) for number in range(12)]
    assert engine.sizes == [3, 3, 3, 3]


def test_calls_of_two_threads_are_answered_as_one_after_the_other(
    random_model: Path, pictures: list[Image.Image]
) -> None:
    engine = TransformersEngine(random_model, max_new_tokens=6, batch_size=2)
    requests = [Request(str(number), picture, "Which feeling?") for number, picture in enumerate(pictures)]
    calls = [requests[:3], requests[3:]] * 2
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(engine.generate, calls))
    assert together == [engine.generate(call) for call in calls]
