"""The main job: `emocaliber run recipes/tiny --out DIR` runs the stages, predicts, judges and reports.

Not a scheduler: one step after another, each in its own folder, each skipped when it is done for the same inputs.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from accelerate import PartialState

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import discard
from emocaliber.core.prompting import load_template
from emocaliber.models.location import fingerprint, model_folder
from emocaliber.reporting.run_report import write_run_report
from emocaliber.runs.judging import predict_stage, read_responses, read_rows
from emocaliber.runs.recipes import read_recipe
from emocaliber.runs.resume import DONE, file_hash, run_step
from emocaliber.runs.summary import summarise
from emocaliber.runs.train import train
from emocaliber.stages.clusters import TRAINED
from emocaliber.stages.fast.feature_cache import FEATURES
from emocaliber.stages.fast.vision_features import STORED
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.training import ADAPTER

RECIPES = ("1-label", "2-verbalize", "3-calibrate")


def run(recipes: Path, out: Path, seed: int | None = None) -> Path:
    """Run the recipes of a folder into `out`; returns the report's path.

    `seed` replaces the recipes' own. Raises UserError where a recipe is missing or wrong, before anything is written.
    """
    chosen = [_recipe(recipes / f"{name}.yaml", seed) for name in RECIPES]
    if len({recipe.model for recipe in chosen}) > 1:
        raise UserError(f"{recipes}: the three recipes name different models; a road has one")
    adapter: Path | None = None
    adapters: list[Path] = []
    for name, recipe in zip(RECIPES, chosen, strict=True):
        train(recipe, adapter, out / name, features=out / FEATURES)
        adapter = out / name / "adapter"
        adapters.append(adapter)
    discard(out / FEATURES, *STORED)
    for stage, (recipe, path) in enumerate(zip(chosen, adapters, strict=True), start=1):
        _predict(stage, recipe, path, out / "predictions" / f"stage-{stage}")
    report = _report(chosen, [path.parent for path in adapters], out)
    if verdict := json.loads((out / RECIPES[-1] / DONE).read_text())["result"].get("verdict"):
        print(verdict)  # again: what stage 3 printed has long scrolled by
    return report


def _recipe(path: Path, seed: int | None) -> Recipe:
    recipe = read_recipe(path)
    return recipe if seed is None else dataclasses.replace(recipe, seed=seed)


def _predict(stage: int, recipe: Recipe, adapter: Path, out: Path) -> dict[str, Any]:
    inputs = {
        "model": fingerprint(model_folder(recipe.model)),
        "adapter": fingerprint(adapter),
        "template": load_template(recipe.template).hash,
        "data": list(recipe.data),
    }
    device = str(PartialState().device)  # where the recipe trained: the CPU with use_cpu, else a GPU

    def work(folder: Path) -> dict[str, Any]:
        model, pixels = model_folder(recipe.model), recipe.shown_pixels
        longest = recipe.max_answer_tokens or load_template(recipe.template).longest_answer
        return predict_stage(stage, model, adapter, recipe.data, recipe.template, device, folder, pixels, longest)

    return run_step(out, inputs, work)


def _report(recipes: list[Recipe], folders: list[Path], out: Path) -> Path:
    predictions = out / "predictions"
    rests_on = [*sorted(predictions.glob("*/*.jsonl")), folders[-1] / ADAPTER / TRAINED]
    inputs = {str(path.relative_to(out)): file_hash(path) for path in rests_on}

    def work(folder: Path) -> dict[str, Any]:
        responses = read_responses(predictions / "stage-3", "test")
        test, calibration = read_rows(out, "test"), read_rows(out, "calibrate")
        summary = summarise(recipes, folders, test, calibration, responses)
        write_run_report(summary, folder)
        return {"criteria": [{"name": criterion.name, "met": criterion.met} for criterion in summary.criteria]}

    run_step(out / "report", inputs, work)
    return out / "report" / "report.html"
