"""What a run hands to its report: stages, scorecard, examples, provenance, and the demo's acceptance criteria.

The criteria are what the tiny recipe is expected to reach on its own test rows. Their values are the scorecard's; one
that is missing is a criterion that is not met.

    summarise(recipes, folders, test, calibration, responses)
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open

from emocaliber.calibration.fit import FEWEST
from emocaliber.core.environment import describe
from emocaliber.core.images import read_image_bytes
from emocaliber.core.predictions import Prediction
from emocaliber.evaluation.reference_methods import CONSTANT
from emocaliber.evaluation.scorecard import Comparison, Estimate, Scorecard
from emocaliber.evaluation.verbalization import ReadOuts, Step, squared_errors, steps_of
from emocaliber.models.location import fingerprint
from emocaliber.reporting.comparisons import find_comparison
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
from emocaliber.runs.judging import (
    EXPECTED,
    POST_HOC,
    PROBABILITY,
    STAGE_1,
    STAGE_2,
    STATED,
    Rows,
    chosen,
    judge,
)
from emocaliber.runs.resume import samples_of
from emocaliber.stages.calibrate.held_out import kept_step
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.training import ADAPTER, LOG, read_log

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
        roles=Roles(STATED, STAGE_1, STAGE_2, EXPECTED, PROBABILITY, list(POST_HOC)),
        stages=[_stage(recipe, folder) for recipe, folder in zip(recipes, folders, strict=True)],
        examples=_examples(recipes[-1], test[STATED], responses),
        criteria=_criteria(test, calibration) if TASK in tasks else [],
        provenance=_provenance(recipes, folders),
        focus=Focus("task", TASK) if TASK in tasks else Focus(),
        verbalization=_verbalization(test, calibration, TASK if TASK in tasks else None),
    )


def _verbalization(test: Rows, calibration: Rows, task: str | None) -> list[Step]:
    """The steps from the best post-hoc map to what is stated; none where the fresh rows are too few to fit a map."""
    parts = [rows if task is None else chosen(rows, task) for rows in (test, calibration)]
    if min(len({row.cluster for row in rows[PROBABILITY]}) for rows in parts) < FEWEST:
        return []
    known, fresh = (
        ReadOuts(rows[STATED], rows[PROBABILITY], expected=rows[EXPECTED], teacher=rows[STAGE_1]) for rows in parts
    )
    return steps_of(squared_errors(known, fresh))


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
        selected_step=kept_step(folder / ADAPTER) if held_out else None,
        verdict=str(done["result"].get("verdict", "")),
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


TASK = "kaomoji"
TRAINED, HELD_OUT = "trained styles", "held-out style"
NOTHING = Estimate(None)
ROWS = "kaomoji; trained styles, unless the name says otherwise"


def demo_criteria(trained: Scorecard, held_out: Scorecard) -> list[Criterion]:
    """The criteria, from one scorecard of kaomoji in trained styles and one in the held-out style."""
    stated, shifted = _figure(trained, STATED), _figure(held_out, STATED)
    post = min(POST_HOC, key=lambda name: _figure(trained, name)("brier").value or 1.0)
    constant = f"{CONSTANT} ({STATED})"
    subject = trained.method(STATED)
    readable = subject.find("all").n_answered / subject.find("all").n
    compared = _comparison(trained)
    return [
        _at_least("Accuracy of stage 1", 0.62, _figure(trained, STAGE_1)("accuracy")),
        _at_least("Accuracy of stage 3 against stage 1", -0.02, _of(compared(STATED, STAGE_1), "label_accuracy")),
        _at_most("ECE of the stated confidence", 0.05, stated("ece")),
        _at_most(f"Brier above the best post-hoc map ({post})", 0.012, _of(compared(STATED, post), "brier")),
        _below_zero("Brier against the constant", _of(compared(STATED, constant), "brier")),
        _below_zero("Brier against stage 2", _of(compared(STATED, STAGE_2), "brier")),
        _at_least("AUROC against the label probability's", -0.03, _of(compared(STATED, PROBABILITY), "auroc")),
        _at_least("Distinct confidences in use", 10, Estimate(float(subject.distinct_confidences))),
        _at_least("Share of readable responses", 0.995, Estimate(readable)),
        _at_least("Accuracy in the held-out style", 0.42, shifted("label_accuracy")),
        _at_most("ECE in the held-out style", 0.12, shifted("ece")),
    ]


def _figure(card: Scorecard, method: str) -> Callable[[str], Estimate]:
    scores = card.method(method).find("all")
    return lambda metric: scores.headline.get(metric, NOTHING)


def _comparison(card: Scorecard) -> Callable[[str, str], Comparison | None]:
    every = card.method(STATED).find("all")
    return lambda first, second: find_comparison(card.comparisons, first, second, every)


def _of(comparison: Comparison | None, metric: str) -> Estimate:
    difference = comparison.headline.get(metric) if comparison else None
    return NOTHING if difference is None else Estimate(difference.value, difference.low, difference.high)


def _at_least(name: str, bound: float, measured: Estimate) -> Criterion:
    return Criterion(
        name, f"at least {_signed(bound)}", measured, measured.value is not None and measured.value >= bound, ROWS
    )


def _at_most(name: str, bound: float, measured: Estimate) -> Criterion:
    return Criterion(
        name, f"at most {_signed(bound)}", measured, measured.value is not None and measured.value <= bound, ROWS
    )


def _below_zero(name: str, measured: Estimate) -> Criterion:
    return Criterion(
        name, "below 0, interval included", measured, measured.high is not None and measured.high < 0, ROWS
    )


def _signed(bound: float) -> str:
    return f"{bound:g}".replace("-", "−")
