"""DPO and KTO on pairs of answers: the preferred confidence becomes likelier, whatever the label."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emocaliber.core.prompting import load_template
from emocaliber.data.embedded import load
from emocaliber.models.location import embedded_base
from emocaliber.stages.calibrate.preferences import calibrate_by_preferences
from emocaliber.stages.examples import TrainingExample
from emocaliber.stages.pairs import Pair
from emocaliber.stages.recipe import Method, Recipe
from emocaliber.stages.targets import spread_over_levels

SETTINGS = {
    "per_device_train_batch_size": 3,
    "max_steps": 3,
    "save_steps": 3,
    "logging_steps": 1,
    "learning_rate": 0.01,
    "lr_scheduler_type": "constant",
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
}


def recipe(method: Method) -> Recipe:
    return Recipe(
        Path("r.yaml"), "calibrate", ("kaomoji",), ("calibrate",), "label-confidence", method=method, trainer=SETTINGS
    )


@pytest.mark.slow
@pytest.mark.parametrize(("method", "metric"), [("dpo", "rewards/margins"), ("kto", "rewards/chosen")])
def test_the_chosen_answers_become_likelier(tmp_path: Path, method: Method, metric: str):
    template, samples = load_template("label-confidence"), load("kaomoji", "calibrate")[:6]
    pairs = [
        Pair(sample.id, sample.task, "right", template.write(label=str(sample.label), confidence=0.9),
             template.write(label=str(sample.label), confidence=0.3), 0.4)
        for sample in samples[:3]
    ]  # fmt: skip
    held = [
        TrainingExample(
            sample, template.write(label=str(sample.label), confidence=0.5), None, spread_over_levels(0.5, 0.05), 1.0
        )
        for sample in samples[3:]
    ]
    by_key = {(sample.task, sample.id): sample for sample in samples}
    calibrate_by_preferences(recipe(method), pairs, by_key, held, str(embedded_base()), None, tmp_path)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    margins = [line[metric] for line in log if metric in line]
    assert margins[0] == pytest.approx(0.0, abs=1e-4)
    assert margins[-1] > 0.05
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()
    assert len((tmp_path / "held_out.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("method", ["dpo", "kto"])
def test_no_pairs_are_an_error_that_says_what_to_do(tmp_path: Path, method: Method):
    with pytest.raises(ValueError, match="at a higher temperature"):
        calibrate_by_preferences(recipe(method), [], {}, [], "none", None, tmp_path)
