"""Engines on Ray: the same answers in the same order, whoever dies."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from threading import Timer

import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.generation.engine import ENGINE_ERROR, IMAGE_ERROR
from emocaliber.generation.journal import Journal
from emocaliber.generation.ray_cluster import LOCAL, connected, engines_on_ray
from emocaliber.generation.ray_engine import RayEngine
from emocaliber.generation.respond import respond
from emocaliber.generation.transformers_engine import TransformersEngine
from tests.generation.slow_engine import DEADLY, Slow
from tests.generation.test_harness import sample

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_of_two")]

TEMPLATE = load_template("label-confidence")
BROKEN = 7


@pytest.fixture(scope="module")
def ray_of_two(ray_installed: None) -> Iterator[None]:
    """A Ray of this machine's own for all tests of the file."""
    with connected(LOCAL, engines=2):
        yield


def samples(numbers: Sequence[int]) -> list[Sample]:
    return [sample(number, image=b"no picture") if number == BROKEN else sample(number) for number in numbers]


def wait_for_two(engine: RayEngine) -> list[int]:
    until = time.monotonic() + 60
    while len(processes := engine.processes()) < 2:
        assert time.monotonic() < until
        time.sleep(0.2)
    return processes


def test_a_process_killed_while_it_works_loses_no_row_and_none_comes_twice(tmp_path: Path) -> None:
    asked = [number for number in range(200) if number != DEADLY]
    with engines_on_ray(LOCAL, Slow, count=2) as engine, Journal(tmp_path / "journal.jsonl") as journal:
        killed, other = wait_for_two(engine)
        Timer(1.0, os.kill, (killed, signal.SIGKILL)).start()
        responses = list(respond(samples(asked), engine, TEMPLATE, journal=journal))
        assert [response.sample_id for response in responses] == [str(number) for number in asked]
        assert {response.sample_id for response in responses if response.error} == {str(BROKEN)}
        assert responses[BROKEN].finish_reason == IMAGE_ERROR
        assert journal.added == len(journal) == len(asked) - 1
        answered_by = {int(response.text) for response in responses if response.text}
        anew = set(wait_for_two(engine)) - {other}
        assert len(anew) == 1
        assert killed not in anew
        assert other in answered_by <= {other, killed, *anew}
        again = list(respond(samples(asked), engine, TEMPLATE, journal=journal))
        assert again == responses
        assert journal.added == len(asked) - 1


def test_a_picture_that_ends_every_process_costs_no_row_but_those_asked_with_it() -> None:
    with engines_on_ray(LOCAL, Slow, count=2) as engine:
        responses = list(respond(samples(range(60)), engine, TEMPLATE))
    failed = [int(response.sample_id) for response in responses if response.finish_reason == ENGINE_ERROR]
    assert failed == [20, 21, 22, 23]  # one call
    assert "two engine processes ended" in responses[DEADLY].error
    assert [response.sample_id for response in responses] == [str(number) for number in range(60)]


def test_two_processes_answer_as_one_engine_does(random_model: Path) -> None:
    build = partial(TransformersEngine, random_model, max_new_tokens=6, batch_size=1)
    here = build()
    with engines_on_ray(LOCAL, build, count=2) as engine:
        assert (engine.name, engine.requests_per_call) == (here.name, 1)
        there = list(respond(samples(range(20)), engine, TEMPLATE))
    assert there == list(respond(samples(range(20)), here, TEMPLATE))


def test_an_engine_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match="processing class"),
        engines_on_ray(LOCAL, partial(TransformersEngine, tmp_path), count=2),
    ):
        pass
