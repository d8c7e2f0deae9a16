"""Several engine processes over one queue: the same answers in the same order, whoever dies."""

import os
import signal
import time
from functools import partial
from pathlib import Path
from threading import Thread, Timer

import pytest
from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.generation import parallel_engine
from emocaliber.generation.engine import Request
from emocaliber.generation.parallel_engine import ParallelEngine, devices
from emocaliber.generation.transformers_engine import TransformersEngine


def test_every_engine_has_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in devices(3)] == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7,GPU-5a")
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in devices(2)] == ["4", "7"]
    with pytest.raises(UserError, match="names 3"):
        devices(4)


@pytest.fixture(scope="module")
def requests(pictures: list[Image.Image]) -> list[Request]:
    prompt = load_template("label").render(KAOMOJI_10.labels)
    return [Request(str(n), pictures[n % 7], prompt) for n in range(70)]


@pytest.mark.slow
def test_two_processes_answer_as_one_engine_does_and_one_goes_on_alone(
    random_model: Path, requests: list[Request]
) -> None:
    build = partial(TransformersEngine, random_model, max_new_tokens=6, batch_size=1)
    alone = build()
    expected = [answer.text for answer in alone.generate(requests)]
    engine = ParallelEngine(build, [{}, {}], batch_size=4)
    assert engine.name == alone.name
    assert len(set(engine.processes)) == 2
    assert [answer.text for answer in engine.generate(requests)] == expected
    Timer(0.2, os.kill, (engine.processes[0], signal.SIGKILL)).start()
    answers = engine.generate(requests * 4)
    assert [answer.text for answer in answers] == expected * 4
    assert [each.sample_id for each in answers] == [each.sample_id for each in requests] * 4
    os.kill(engine.processes[1], signal.SIGKILL)
    for _ in range(2):  # it may be seen while a batch is under way, or before any is
        with pytest.raises(UserError, match="no engine process is left"):
            engine.generate(requests)
    engine.close()


@pytest.mark.slow
def test_an_engine_that_cannot_be_built_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="processing class"):
        ParallelEngine(partial(TransformersEngine, tmp_path), [{}, {}])


def unending(model: Path) -> TransformersEngine:
    """An engine with a thread that keeps its process from ending."""
    Thread(target=time.sleep, args=(600,)).start()
    return TransformersEngine(model, max_new_tokens=2)


@pytest.mark.slow
def test_an_engine_that_cannot_end_does_not_keep_the_run_from_ending(
    random_model: Path, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel_engine, "PATIENCE", 0.5)
    engine = ParallelEngine(partial(unending, random_model), [{}])
    assert len(engine.generate(requests[:2])) == 2
    with pytest.warns(UserWarning, match="did not end within .* and is ended; no answer is lost"):
        engine.close()
    with pytest.raises(ProcessLookupError):
        os.kill(engine.processes[0], 0)
