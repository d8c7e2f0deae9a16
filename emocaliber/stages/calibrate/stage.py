"""Stage 3, calibrate: correct the stated confidence, on rows that no earlier stage has learned from.

Read from top to bottom: the rows, the model's own answers to them, the held-out rows, training by the recipe's method,
and the step that is kept.

    emocaliber train recipes/tiny/3-calibrate.yaml --adapter out/2-verbalize/adapter --out out/3-calibrate
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import replace_folder
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.models.location import model_folder
from emocaliber.stages.calibrate.held_out import STEP, select_weights
from emocaliber.stages.calibrate.preferences import calibrate_by_preferences
from emocaliber.stages.calibrate.proper import calibrate_by_proper_loss
from emocaliber.stages.calibrate.reinforcement import calibrate_by_grpo, calibrate_by_rloo
from emocaliber.stages.clusters import held_out_clusters, write_trained_clusters
from emocaliber.stages.examples import TrainingExample, in_splits
from emocaliber.stages.launch import rank
from emocaliber.stages.pairs import read_pairs
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.targets import answer_examples
from emocaliber.stages.teacher import OpenTeacher
from emocaliber.stages.training import result_name


def calibrate(
    recipe: Recipe, rows: Sequence[Sample], adapter: Path | None, out: Path, open_teacher: OpenTeacher
) -> dict[str, Any]:
    """Train on the recipe's splits of `rows`; the result is the step that `selection` keeps, or the start.

    Returns the numbers of held-out rows, unreadable answers and training examples (or pairs), and what was kept. Raises
    UserError where the method needs labels that a row lacks, or every pair is held out.
    """
    samples = list(in_splits(rows, recipe.splits, recipe.data))
    refuse_unlabelled(recipe, samples)
    template = load_template(recipe.template)
    print(f"  querying the stage-2 model about {len(samples)} pictures", flush=True)
    with open_teacher(recipe, adapter, out) as teacher:
        answers = answer_examples(samples, teacher.answers(samples, template), template, recipe.spread)
    fit, held_out = held_out_split(answers, samples, recipe.held_out, recipe.seed)
    result: dict[str, Any] = {"held_out": len(held_out), "unreadable": len(samples) - len(answers)}
    model = model_folder(recipe.model)
    match recipe.method:
        case "proper":
            calibrate_by_proper_loss(recipe, fit, held_out, model, adapter, out)
        case "grpo":
            calibrate_by_grpo(recipe, fit, held_out, model, adapter, out)
        case "rloo":
            calibrate_by_rloo(recipe, fit, held_out, model, adapter, out)
        case "dpo" | "kto":
            result |= _by_preferences(recipe, samples, held_out, adapter, out)
    if recipe.pairs is None:
        result |= {"examples": len(fit)}
    if rank() == 0:
        kept, folder = select_weights(out, held_out, recipe)
        learned = {sample.cluster for sample in samples}
        learned -= labelled_and_held_out(samples, recipe.held_out, recipe.seed)
        put_in_place(out, folder or result_name(recipe), result_name(recipe), kept.step, learned)
        print(f"  {kept.sentence}", flush=True)
        result |= {"kept": dataclasses.asdict(kept), "verdict": kept.sentence}
    return result


def put_in_place(out: Path, source: str, name: str, step: int, learned: Iterable[str]) -> None:
    """Copy `out/source` to the result `out/name`, with the step and the hashes of the clusters that were learned."""
    partial = out / f"{name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(out / source, partial)
    (partial / f"{STEP}.json").write_text(json.dumps({STEP: step}))
    write_trained_clusters(partial, learned)
    replace_folder(partial, out / name)


def refuse_unlabelled(recipe: Recipe, samples: Sequence[Sample]) -> None:
    """Raises UserError where a row has no label and the method rewards correct answers."""
    missing = next((sample.id for sample in samples if sample.label is None), None)
    if missing is not None and recipe.method != "proper":
        raise UserError(
            f"{recipe.path}: splits: {missing} has no label, and method {recipe.method} pays for right answers; only"
            " method proper learns from such rows: leave their split out (splits=[calibrate])"
        )


def labelled_and_held_out(samples: Sequence[Sample], share: float, seed: int) -> frozenset[str]:
    """The clusters to hold out for selection, sampled by the seed from those with a label."""
    return held_out_clusters((sample.cluster for sample in samples if sample.label is not None), share, seed)


def held_out_split(
    examples: Sequence[TrainingExample], samples: Sequence[Sample], share: float, seed: int
) -> tuple[list[TrainingExample], list[TrainingExample]]:
    """The examples to train on, and those of the held-out clusters."""
    clusters = labelled_and_held_out(samples, share, seed)
    fit = [example for example in examples if example.sample.cluster not in clusters]
    return fit, [example for example in examples if example.sample.cluster in clusters]


def _by_preferences(
    recipe: Recipe, samples: list[Sample], held_out: list[TrainingExample], adapter: Path | None, out: Path
) -> dict[str, Any]:
    """Train on the pairs whose clusters are not held out."""
    by_key = {(sample.task, sample.id): sample for sample in samples}
    clusters = labelled_and_held_out(samples, recipe.held_out, recipe.seed)
    pairs = read_pairs(Path(str(recipe.pairs)), by_key)
    fit = [pair for pair in pairs if by_key[pair.key].cluster not in clusters]
    if not fit:
        raise UserError(f"{recipe.path}: every pair of {recipe.pairs} is about a held-out row; draw from more rows")
    calibrate_by_preferences(recipe, fit, by_key, held_out, model_folder(recipe.model), adapter, out)
    return {"pairs": len(fit), "pairs held out": len(pairs) - len(fit)}
