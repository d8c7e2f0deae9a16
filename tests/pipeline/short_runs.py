"""Runs of a few steps on a few pictures: where the recipes are, what shortens them, what they leave."""

from __future__ import annotations

import json
from pathlib import Path

from emocaliber.datasets.parquet import read_samples
from emocaliber.prompting import LEVELS, load_template
from emocaliber.stages.conversations import Lesson
from emocaliber.stages.targets import spread_over_levels
from tests.stages.families import save_family

RECIPES = Path(__file__).parents[2] / "recipes"
FOLDER = {
    "qwen2.5-vl": "qwen2.5-vl-7b",
    "qwen3-vl": "qwen3-vl-4b",
    "smolvlm": "smolvlm-256m",
    "internvl": "internvl3-2b",
}
ON_CPU = [
    "use_cpu=true",
    "bf16=false",
    "max_steps=2",
    "logging_steps=1",
    "save_steps=1",
    "per_device_train_batch_size=2",
    "gradient_accumulation_steps=2",
    "dataloader_num_workers=0",
    "ask_batch_size=8",
]


def model_of(family: str, models: Path) -> Path:
    return models / family if (models / family).is_dir() else save_family(family, models / family)


def overrides(model: Path, few: Path, *more: str) -> list[str]:
    return [*ON_CPU, f"model={model}", f"data=[{few}]", *more]


def losses(out: Path) -> list[float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def answers(few: Path) -> list[Lesson]:
    """What a stage-2 model might have answered: a random one answers nothing that can be read."""
    template = load_template("label-confidence")
    return [
        Lesson(
            sample,
            template.write(label=sample.candidates[n % 3], confidence=LEVELS[(7 * n + 20) % 21]),
            tuple(1 / len(sample.candidates) for _ in sample.candidates),
            spread_over_levels(LEVELS[(7 * n + 20) % 21], 0.05),
            correct=float(sample.candidates[n % 3] == sample.label),
        )
        for n, sample in enumerate(read_samples(few, "calibrate"))
    ]
