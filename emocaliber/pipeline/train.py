"""One stage from its recipe: `emocaliber train RECIPE --out DIR`, resumable.

Not the whole road (see run): stages 2 and 3 start from the adapter of the stage before, given by `--adapter`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from emocaliber.backbones.tiny import embedded_base
from emocaliber.datasets.splits import check_disjoint
from emocaliber.errors import UserError
from emocaliber.generation.fingerprint import fingerprint
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.pipeline.steps import Inputs, run_step
from emocaliber.pipeline.teaching import held_out_split, labelled, own_answers, samples_of, verbalized
from emocaliber.prompting import load_template
from emocaliber.samples import Sample
from emocaliber.stages.calibrate.grpo import calibrate_by_grpo
from emocaliber.stages.calibrate.held_out import BEST
from emocaliber.stages.calibrate.proper import calibrate_by_proper_loss
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.supervised import train_supervised
from emocaliber.stages.training import ADAPTER, CHECKPOINTS


def model_folder(recipe: Recipe) -> str:
    """The model to load: the embedded one for `tiny`."""
    return str(embedded_base()) if recipe.model == "tiny" else recipe.model


def train(recipe: Recipe, adapter: Path | None, out: Path) -> dict[str, Any]:
    """Run one stage in `out`, which ends with `out/adapter`. Returns what it learned from, for the report.

    Raises UserError where a later stage is given no adapter, or a split overlaps another.
    """
    if recipe.stage != "label" and adapter is None:
        raise UserError(f"{recipe.path}: stage {recipe.stage} goes on from an adapter; give it with --adapter DIR")
    samples = samples_of(recipe.data, recipe.splits)
    check_disjoint(samples_of(recipe.data, ["train", "unlabelled", "calibrate", "test"]))
    return run_step(out, inputs_of(recipe, adapter), lambda folder: _train(recipe, samples, adapter, folder))


def inputs_of(recipe: Recipe, adapter: Path | None) -> Inputs:
    """Everything that the result depends on."""
    settings = {k: v for k, v in vars(recipe).items() if k != "path"}
    return {
        "recipe": settings,
        "model": fingerprint(model_folder(recipe)),
        "adapter": fingerprint(adapter),
        "template": load_template(recipe.template).hash,
    }


def _train(recipe: Recipe, samples: list[Sample], adapter: Path | None, out: Path) -> dict[str, Any]:
    stages = {"label": _label, "verbalize": _verbalize, "calibrate": _calibrate}
    result = stages[recipe.stage](recipe, samples, adapter, out)
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return result


def _label(recipe: Recipe, samples: list[Sample], adapter: Path | None, out: Path) -> dict[str, Any]:
    lessons = labelled(samples, load_template(recipe.template))
    train_supervised(recipe, lessons, model_folder(recipe), adapter, out, title="label")
    return {"lessons": len(lessons)}


def _verbalize(recipe: Recipe, samples: list[Sample], adapter: Path | None, out: Path) -> dict[str, Any]:
    engine = TransformersEngine(
        model_folder(recipe),
        adapter=adapter,
        batch_size=96,
        max_new_tokens=12,
        temperature=1.0 if recipe.target == "agreement" else 0.0,
        seed=recipe.seed,
    )
    print(f"  asking the stage-1 model about {len(samples)} pictures", flush=True)
    lessons, temperatures = verbalized(recipe, samples, engine)
    train_supervised(recipe, lessons, model_folder(recipe), adapter, out, title="verbalize")
    return {"lessons": len(lessons), "temperatures": temperatures}


def _calibrate(recipe: Recipe, samples: list[Sample], adapter: Path | None, out: Path) -> dict[str, Any]:
    assert adapter is not None
    engine = TransformersEngine(model_folder(recipe), adapter=adapter, batch_size=96, max_new_tokens=12)
    print(f"  asking the stage-2 model about {len(samples)} pictures", flush=True)
    answers = own_answers(samples, engine, load_template(recipe.template), recipe.spread)
    fit, held = held_out_split(answers, recipe.held_out, recipe.seed)
    method = calibrate_by_grpo if recipe.method == "grpo" else calibrate_by_proper_loss
    method(recipe, fit, held, model_folder(recipe), adapter, out)
    shutil.rmtree(out / ADAPTER)
    shutil.copytree(out / BEST, out / ADAPTER)
    return {"lessons": len(fit), "held_out": len(held), "unreadable": len(samples) - len(answers)}
