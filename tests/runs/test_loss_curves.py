"""Fifty steps go down a committed curve: a change of what is learned, of its order or of its scale shows.

After a change that is meant: UPDATE_LOSS_CURVES=1 pytest tests/runs/test_loss_curves.py, and say why in the commit.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from emocaliber.core.prompting import load_template
from emocaliber.runs.recipes import read_recipe
from emocaliber.stages.calibrate.proper import calibrate_by_proper_loss
from emocaliber.stages.examples import TrainingExample
from emocaliber.stages.supervised import train_supervised
from tests.runs.short_runs import RECIPES, answers, losses, model_of, overrides

pytestmark = pytest.mark.slow

CURVES = Path(__file__).with_name("loss_curves.json")
STEPS = ["max_steps=50", "save_steps=50", "gradient_accumulation_steps=1", "max_pixels=4096", "learning_rate=0.002"]
STAGES = {"label": "1-label", "calibrate": "3-calibrate"}


def curve(stage: str, few: Path, models: Path, out: Path) -> list[float]:
    model = model_of("qwen3-vl", models)
    recipe = read_recipe(RECIPES / "qwen3-vl-4b" / f"{STAGES[stage]}.yaml", overrides(model, few, *STEPS))
    examples = answers(few)
    if stage == "label":
        template = load_template(recipe.template)
        labels = [TrainingExample(example.sample, template.write(label=example.sample.label)) for example in examples]
        train_supervised(recipe, labels, str(model), None, out, title=stage)
    else:
        calibrate_by_proper_loss(recipe, examples[:6], examples[6:], str(model), None, out)
    return losses(out)


@pytest.mark.parametrize("stage", STAGES)
def test_fifty_steps_go_down_the_committed_curve(stage: str, few: Path, models: Path, tmp_path: Path) -> None:
    measured, committed = curve(stage, few, models, tmp_path), json.loads(CURVES.read_text())
    if os.environ.get("UPDATE_LOSS_CURVES") == "1":
        committed |= {stage: measured}
        CURVES.write_text(json.dumps(committed, indent=1) + "\n")
    assert measured == pytest.approx(committed[stage], rel=5e-3, abs=5e-3)
    assert sum(measured[-5:]) < 0.95 * sum(measured[:5])
