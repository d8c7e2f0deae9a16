"""The benchmark's forward pass reads what the engine reads, and its loss is the one that the stage learns by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from emocaliber.core.prompting import LEVELS, load_template
from emocaliber.data.embedded import samples_in
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.runs.teacher import EngineTeacher
from eval.benchmarks.stage_2_forward import Forward
from eval.benchmarks.stage_2_variants import bounds, cosine, table

ADAPTER = Path("emocaliber/data/tiny-adapter")


def test_beliefs_and_levels_are_those_of_the_engine(tmp_path: Path) -> None:
    rows = samples_in(["kaomoji", "emoji"])
    samples = [s for s in rows if s.split == "calibrate"][:: len(rows) // 300][:24]
    template = load_template("label-confidence")
    forward = Forward(samples, tmp_path / "features.pt")
    model = forward.model(ADAPTER, trainable=False)
    teacher = EngineTeacher(TransformersEngine(forward.folder, adapter=ADAPTER, max_new_tokens=12))
    for ours, theirs in zip(
        forward.beliefs(model, samples, load_template("label")), teacher.label_probabilities(samples), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    answers = teacher.answers(samples, template)
    labels = [str(answer.label) for answer in answers]
    levels = forward.levels(model, samples, labels, template)
    assert [LEVELS[k] for k in levels.argmax(1)] == [answer.confidence for answer in answers]


def test_the_learning_rate_rises_for_a_twentieth_and_falls_to_nothing() -> None:
    rates = [cosine(step, 100) for step in range(100)]
    assert rates[4] == pytest.approx(1.0)
    assert rates[:5] == sorted(rates[:5])
    assert rates[5:] == sorted(rates[5:], reverse=True)
    assert rates[-1] < 0.001


def test_a_variant_is_a_line_of_the_table() -> None:
    fresh = {
        "correlation": 0.8,
        "own correlation": 0.7,
        "accuracy": 0.5,
        "own": 0.2,
        "mean": 0.21,
        "stated": 0.22,
        "AUROC": -0.03,
    }
    result = {
        "variant": {"name": "twice as long"},
        "steps": 10,
        "seconds": 5.0,
        "loss": 1.5,
        "taught": {"correlation": 0.9, "own correlation": 0.6},
    }
    text = table([result | {"fresh": fresh | {"stated above own": (0.02, 0.01, 0.03)}}])
    assert "| twice as long | 10 | 5 | 1.500 | 0.900 | 0.800 | 0.600 | 0.700 |" in text
    assert "+0.0200 [+0.0100, +0.0300]" in text


def test_the_least_level_loss_is_that_of_the_targets_themselves() -> None:
    assert bounds(np.array([0.5, 0.5]), 0.05)[0] == pytest.approx(bounds(np.array([0.5, 0.5]), 0.05)[1])
    least, most = bounds(np.array([0.0, 1.0]), 0.0)
    assert (least, most) == pytest.approx((0.0, np.log(2)))
