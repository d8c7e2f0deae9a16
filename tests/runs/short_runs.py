"""Runs of a few steps on a few pictures: where the recipes are, what shortens them, what they leave."""

from __future__ import annotations

import json
from pathlib import Path

from emocaliber.cli import main
from emocaliber.core.prompting import LEVELS, load_template
from emocaliber.data.parquet import read_samples
from emocaliber.runs.recipes import read_recipe
from emocaliber.stages.calibrate.proper import calibrate_by_proper_loss
from emocaliber.stages.examples import TrainingExample
from emocaliber.stages.targets import spread_over_levels
from tests.stages.families import save_family

RECIPES = Path(__file__).parents[2] / "recipes"
FOLDER = {
    "qwen2.5-vl": "qwen2.5-vl-7b",
    "qwen3-vl": "qwen3-vl-4b",
    "smolvlm": "smolvlm-256m",
    "internvl": "internvl3-2b",
    "internvl3.5": "internvl3.5",
    "qwen3.5": "qwen3.5",
    "minicpm-v": "minicpm-v-4.6",
    "lfm2-vl": "lfm2.5-vl",
    "gemma-4": "gemma-4",
}
EVERY_WAY = ("qwen2.5-vl", "qwen3-vl", "smolvlm", "internvl")
"""The families that run in every way; the others' layers are in the three stages."""
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


def answers(few: Path) -> list[TrainingExample]:
    """What a stage-2 model might have answered: a random one answers nothing that can be read."""
    template = load_template("label-confidence")
    return [
        TrainingExample(
            sample,
            template.write(label=sample.candidates[n % 3], confidence=LEVELS[(7 * n + 20) % 21]),
            tuple(1 / len(sample.candidates) for _ in sample.candidates),
            spread_over_levels(LEVELS[(7 * n + 20) % 21], 0.05),
            correct=float(sample.candidates[n % 3] == sample.label),
        )
        for n, sample in enumerate(read_samples(few, "calibrate"))
    ]


def three_stages(family: str, model: Path, few: Path, out: Path, *more: str) -> tuple[Path, Path, Path]:
    """Two steps of each stage by the family's recipes, the third from answers that a trained model might have given."""
    recipes = RECIPES / FOLDER[family]
    first, second, third = out / "1", out / "2", out / "3"
    own = [] if read_recipe(recipes / "1-label.yaml").max_pixels is None else ["max_pixels=3136"]
    changes = overrides(model, few, *own, *more)
    assert main(["train", str(recipes / "1-label.yaml"), *changes, "--out", str(first)]) == 0
    verbalize = ["train", str(recipes / "2-verbalize.yaml"), *changes, "splits=[unlabelled]"]
    assert main([*verbalize, "--adapter", str(first / "adapter"), "--out", str(second)]) == 0
    recipe, examples = read_recipe(recipes / "3-calibrate.yaml", changes), answers(few)
    calibrate_by_proper_loss(recipe, examples[:4], examples[4:], str(model), second / "adapter", third)
    return first, second, third
