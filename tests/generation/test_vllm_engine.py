"""vLLM in process, on the CPU, with an untrained model: what it is held to it writes, and it scores as transformers."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.core.prompting import Template, load_template
from emocaliber.core.samples import Sample
from emocaliber.generation.asking_again import FollowUpEngine, in_two_steps
from emocaliber.generation.engine import Request, StreamingEngine
from emocaliber.generation.transformers_engine import TransformersEngine
from tests.generation.conftest import VLLM_ON_CPU, rows_in_memory, save_adapter
from tests.generation.test_harness import png
from tests.generation.test_listening import check_stop, check_stream
from tests.stages.families import save_family

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vllm_installed")]
LABELS = ("happy", "sad", "very angry", "awe", "awestruck")
ENDED = tuple(f"{label}</answer>" for label in LABELS)


@pytest.fixture(scope="module")
def engine(random_model: Path) -> StreamingEngine:
    """Room for an untrained model to spell the tags byte by byte."""
    os.environ.update(VLLM_ON_CPU)
    from emocaliber.generation.vllm_engine import VllmEngine

    return VllmEngine(random_model, dtype="float32", max_model_len=512, max_new_tokens=100)


def rows_held_to(template: Template, engine: StreamingEngine) -> list[Prediction]:
    samples = [Sample(str(n), png(n), "t", LABELS, "sad", "test", "g", str(n)) for n in range(12)]
    return [row[Source.VERBALIZED] for row in rows_in_memory(samples, engine, template, constrain=True)]


@pytest.mark.parametrize("name", ["label-confidence", "json"])
def test_constrained_answers_are_all_readable(name: str, engine: StreamingEngine) -> None:
    assert {row.state for row in rows_held_to(load_template(name), engine)} == {State.OK}


def test_both_answers_of_a_constrained_self_report_are_readable(engine: StreamingEngine) -> None:
    first, then = load_template("self-report-answer"), load_template("self-report-confidence")
    rows = rows_held_to(in_two_steps(first, then), FollowUpEngine(engine, first, then))
    assert {row.state for row in rows} == {State.OK}


def test_options_of_several_tokens_score_as_with_transformers(
    engine: StreamingEngine, random_model: Path, pictures: list[Image.Image]
) -> None:
    """One tree of tokens for each question here, one cached beginning there; the same sums."""
    prompt = load_template("label").render(LABELS)
    requests = [Request(str(n), picture, prompt) for n, picture in enumerate(pictures)]
    prefixes = ["<answer>", "It is late. <answer>"] * 3 + [""]
    plain = TransformersEngine(random_model)
    scores = [each.score_continuations(requests, prefixes, LABELS, "</answer>") for each in (engine, plain)]
    assert scores[0].shape == (7, 5)
    assert np.allclose(scores[0], scores[1], atol=1e-3)


def test_it_tells_what_it_writes_and_stops_where_nobody_waits(
    engine: StreamingEngine, pictures: list[Image.Image]
) -> None:
    requests = [Request(str(n), picture, load_template("label").render(LABELS)) for n, picture in enumerate(pictures)]
    check_stream(engine, requests)
    check_stop(engine, requests[:3])


def test_calls_of_several_threads_share_the_batches(engine: StreamingEngine, pictures: list[Image.Image]) -> None:
    requests = [Request(str(number), picture, "Which feeling?") for number, picture in enumerate(pictures)]
    calls = [requests[:3], requests[3:]] * 3
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(engine.generate, calls))
    for answers, call in zip(together, calls, strict=True):
        assert [answer.sample_id for answer in answers] == [request.sample_id for request in call]
        assert [answer.text for answer in answers] == [answer.text for answer in engine.generate(call)]


def test_an_adapter_on_vision_tower_and_projector_alone_is_served_as_by_transformers(
    engine: StreamingEngine, random_model: Path, vision_adapter: Path, pictures: list[Image.Image], tmp_path: Path
) -> None:
    """And one of whose modules vLLM applies a part only is an error that names the first that it drops."""
    from vllm.lora.request import LoRARequest

    from emocaliber.generation.vllm_engine import VllmEngine

    served = VllmEngine(random_model, adapter=vision_adapter, dtype="float32", max_model_len=512)
    plain = TransformersEngine(random_model, adapter=vision_adapter)
    requests = [
        Request(str(n), picture, load_template("label").render(LABELS)) for n, picture in enumerate(pictures * 2)
    ]
    bare, adapted, expected = (
        each.score_continuations(requests, "<answer>", LABELS, "</answer>") for each in (engine, served, plain)
    )
    assert np.abs(bare - expected).max() > 0.01
    assert np.allclose(adapted, expected, atol=1e-3)
    partly = save_adapter(random_model, tmp_path / "partly", r".*visual\.(patch_embed\.proj|.*\.qkv)", 0.1)
    served._llm.llm_engine.add_lora(LoRARequest("partly", 2, str(partly)))
    with pytest.raises(
        UserError, match=r"no adapter to 1 of its modules, the first is visual\.patch_embed\.proj; merge"
    ):
        served._check_complete(partly)


def test_an_adapter_on_a_tower_that_vllm_serves_none_on_is_refused_before_the_engine_starts(tmp_path: Path) -> None:
    from emocaliber.generation.vllm_engine import VllmEngine

    model = save_family("internvl", tmp_path / "model")
    adapter = save_adapter(model, tmp_path / "adapter", r".*vision_tower.*\.q_proj", 0.1)
    with pytest.raises(UserError, match=r"vLLM's InternS1ForConditionalGeneration applies no adapter; merge it"):
        VllmEngine(model, adapter=adapter)


def test_vllm_takes_what_is_asked_of_the_memory_and_on_a_cpu_a_quarter_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By itself vLLM wants .92 of all memory there, which on a machine in use is never free."""
    from emocaliber.generation.vllm_engine import CPU_CACHE, memory_settings

    assert memory_settings(0.5) == {"gpu_memory_utilization": 0.5}
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    assert memory_settings(None) == {}
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE")
    free = psutil.virtual_memory().available
    assert memory_settings(None)["kv_cache_memory_bytes"] == pytest.approx(CPU_CACHE * free, rel=0.2)


def test_where_vllm_does_not_start_the_error_names_the_model_and_the_remedies(tmp_path: Path) -> None:
    from emocaliber.generation.vllm_engine import VllmEngine

    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl", "architectures": ["Nothing"]}')
    with pytest.raises(UserError, match=r"vLLM did not start: .*--gpu-memory-utilization"):
        VllmEngine(tmp_path)
