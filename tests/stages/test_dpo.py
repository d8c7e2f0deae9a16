"""DPO and KTO on pairs of answers: the preferred confidence becomes likelier, whatever the label."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from emocaliber.core.prompting import load_template
from emocaliber.data.embedded import load
from emocaliber.models.location import embedded_base
from emocaliber.stages.calibrate.dpo import calibrate_by_dpo
from emocaliber.stages.calibrate.kto import calibrate_by_kto
from emocaliber.stages.conversations import Lesson
from emocaliber.stages.pairs import Pair
from emocaliber.stages.recipe import Recipe
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


def recipe() -> Recipe:
    return Recipe(Path("r.yaml"), "calibrate", ("kaomoji",), ("calibrate",), "label-confidence", trainer=SETTINGS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "told"), [(calibrate_by_dpo, "rewards/margins"), (calibrate_by_kto, "rewards/chosen")]
)
def test_the_chosen_answers_become_likelier(tmp_path: Path, method: Callable[..., None], told: str):
    template, samples = load_template("label-confidence"), load("kaomoji", "calibrate")[:6]
    pairs = [
        Pair(one.id, one.task, "right", template.write(label=str(one.label), confidence=0.9),
             template.write(label=str(one.label), confidence=0.3), 0.4)
        for one in samples[:3]
    ]  # fmt: skip
    held = [
        Lesson(one, template.write(label=str(one.label), confidence=0.5), None, spread_over_levels(0.5, 0.05), 1.0)
        for one in samples[3:]
    ]
    by_key = {(one.task, one.id): one for one in samples}
    method(recipe(), pairs, by_key, held, str(embedded_base()), None, tmp_path)
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    margins = [line[told] for line in log if told in line]
    assert margins[0] == pytest.approx(0.0, abs=1e-4)
    assert margins[-1] > 0.05
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()
    assert len((tmp_path / "held_out.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("method", [calibrate_by_dpo, calibrate_by_kto])
def test_no_pairs_are_an_error_that_says_what_to_do(tmp_path: Path, method: Callable[..., None]):
    with pytest.raises(ValueError, match="at a higher temperature"):
        method(recipe(), [], {}, [], "none", None, tmp_path)
