"""What a stage leaves is served by vLLM: the adapter changes its answers, and they are those of transformers.

The other families: eval/benchmarks/families.py.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from emocaliber.cli import main
from emocaliber.core.images import load_image
from emocaliber.core.prompting import load_template
from emocaliber.data.embedded import load
from emocaliber.generation.engine import Request
from emocaliber.generation.transformers_engine import TransformersEngine
from tests.generation.conftest import VLLM_ON_CPU
from tests.runs.short_runs import RECIPES, model_of, overrides

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("vllm_installed")]
STEPS = ["max_steps=20", "save_steps=20", "max_pixels=4096", "learning_rate=0.02"]


def test_vllm_serves_what_a_stage_left_as_transformers_does(few: Path, models: Path, tmp_path: Path) -> None:
    os.environ.update(VLLM_ON_CPU)
    from emocaliber.generation.vllm_engine import VllmEngine

    base, recipe = model_of("qwen3-vl", models), str(RECIPES / "qwen3-vl-4b" / "1-label.yaml")
    assert main(["train", recipe, *overrides(base, few, *STEPS), "--out", str(tmp_path / "1")]) == 0
    adapter = tmp_path / "1" / "adapter"
    samples = load("kaomoji", "test")[:8]
    labels, prompt = samples[0].candidates, load_template("label").render(samples[0].candidates)
    requests = [Request(sample.id, load_image(sample.image), prompt) for sample in samples]
    plain = TransformersEngine(base, adapter=adapter, max_new_tokens=4)
    served = VllmEngine(base, adapter=adapter, dtype="float32", max_model_len=512, max_new_tokens=4)
    texts = [[response.text for response in engine.generate(requests)] for engine in (plain, served)]
    assert (
        sum(first != other for first, other in zip(*texts, strict=True)) <= 1
    )  # all but equal tokens may fall otherwise
    scores = [engine.score_continuations(requests, "<answer>", labels, "</answer>") for engine in (plain, served)]
    assert np.allclose(scores[0], scores[1], atol=1e-3)
