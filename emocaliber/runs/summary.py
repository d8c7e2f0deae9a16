"""What a run tells its report: stages, scorecard, examples, acceptance criteria, and where everything came from.

Not a computation of figures and not HTML (see emocaliber.reporting).
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from emocaliber.core.environment import describe
from emocaliber.core.images import read_image_bytes
from emocaliber.core.predictions import Prediction
from emocaliber.models.location import fingerprint
from emocaliber.reporting.run_summary import (
    Criterion,
    Curve,
    Example,
    Focus,
    Roles,
    RunSummary,
    StageLog,
    choose_examples,
)
from emocaliber.runs.acceptance import HELD_OUT, TASK, TRAINED, demo_criteria
from emocaliber.runs.inputs import samples_of
from emocaliber.runs.judging import (
    EXPECTED,
    ISOTONIC,
    PROBABILITY,
    STAGE_1,
    STAGE_2,
    STATED,
    TEMPERATURE,
    Rows,
    chosen,
    judge,
)
from emocaliber.stages.calibrate.held_out import kept_step
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.training import LOG, read_log

STAGE_NAMES = {"label": "1 label", "verbalize": "2 verbalize", "calibrate": "3 calibrate"}


def summarise(
    recipes: Sequence[Recipe], folders: Sequence[Path], test: Rows, calibration: Rows, responses: dict[str, str]
) -> RunSummary:
    """Judge the rows and gather what the report shows. The criteria are measured where kaomoji are among the data."""
    card = judge(test, calibration)
    tasks = {row.task for row in test[STATED]}
    return RunSummary(
        title=f"emocaliber: the three stages on {' and '.join(sorted(tasks))}",
        scorecard=card,
        roles=Roles(STATED, STAGE_1, STAGE_2, EXPECTED, PROBABILITY, [TEMPERATURE, ISOTONIC]),
        stages=[_stage(recipe, folder) for recipe, folder in zip(recipes, folders, strict=True)],
        examples=_examples(recipes[-1], test[STATED], responses),
        criteria=_criteria(test, calibration) if TASK in tasks else [],
        provenance=_provenance(recipes, folders),
        focus=Focus("task", TASK) if TASK in tasks else Focus(),
    )


def _criteria(test: Rows, calibration: Rows) -> list[Criterion]:
    fresh = {STATED: calibration[STATED]}
    shifted = judge(chosen({STATED: test[STATED]}, TASK, HELD_OUT), chosen(fresh, TASK))
    return demo_criteria(judge(chosen(test, TASK, TRAINED), chosen(calibration, TASK)), shifted)


def _stage(recipe: Recipe, folder: Path) -> StageLog:
    done: dict[str, Any] = json.loads((folder / "done.json").read_text())
    log = read_log(folder / LOG)
    held_out = read_log(folder / "held_out.jsonl")
    curves: dict[str, Curve] = {"loss": [(line["step"], line["loss"]) for line in log if "loss" in line]}
    if held_out:
        curves["held-out Brier"] = [(line["step"], line["brier"]) for line in held_out]
    settings = {k: v for k, v in vars(recipe).items() if k not in {"path", "trainer"}} | recipe.trainer
    return StageLog(
        name=STAGE_NAMES[recipe.stage],
        data=f"{', '.join(recipe.data)}: {', '.join(recipe.splits)}",
        n_train=int(done["result"]["examples"]),
        n_held_out=int(done["result"].get("held_out", 0)),
        steps=max((line["step"] for line in log), default=0),
        seconds=float(done["seconds"]),
        trained_parameters=_parameters(folder / "adapter" / "adapter_model.safetensors"),
        sha256=fingerprint(folder / "adapter"),
        recipe={k: str(v) for k, v in settings.items()},
        curves=curves,
        selected_step=kept_step(folder) if held_out else None,
    )


def _parameters(weights: Path) -> int:
    total = 0
    with safe_open(weights, framework="np") as tensors:
        for name in tensors.keys():  # noqa: SIM118  (not a mapping)
            size = 1
            for n in tensors.get_slice(name).get_shape():
                size *= n
            total += size
    return total


def _examples(recipe: Recipe, stated: Sequence[Prediction], responses: dict[str, str]) -> list[Example]:
    images = {s.id: s.image for s in samples_of(recipe.data, ["test"])}
    return choose_examples(stated, lambda name: read_image_bytes(images[name]), responses.__getitem__)


def _provenance(recipes: Sequence[Recipe], folders: Sequence[Path]) -> dict[str, str]:
    provenance = {name: str(value) for name, value in describe()}
    provenance |= {f"adapter of stage {i}": fingerprint(f / "adapter") for i, f in enumerate(folders, start=1)}
    provenance |= {"seed": ", ".join(str(r.seed) for r in recipes), "system": platform.platform()}
    return provenance
