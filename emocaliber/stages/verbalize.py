"""Stage 2, verbalize: state the confidence. The stage-1 model's belief becomes the confidence that the model learns to
state; with a template that reasons, the stage-1 model's own reasoning comes before it.

Read from top to bottom: the rows, the teacher's beliefs about them, the targets, the training.

    emocaliber train recipes/tiny/2-verbalize.yaml --adapter out/1-label/adapter --out out/2-verbalize
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.data.sample_table import labelled_and_rated, take
from emocaliber.models.location import model_folder
from emocaliber.stages.clusters import averaged, left_out_fold, rows_by_teacher
from emocaliber.stages.examples import TrainingExample, in_splits, refuse_without_rationale
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.supervised import train_supervised
from emocaliber.stages.targets import (
    distilled_examples,
    distribution_examples,
    has_votes,
    scaled_beliefs,
    signal_beliefs,
    temperatures_of,
    vote_examples,
)
from emocaliber.stages.teacher import Beliefs, Floats, OpenTeacher, Teacher, agreement, survival

STAGE_1_SPLIT = "train"
OpenAdapter = Callable[[Path | None], AbstractContextManager[Teacher]]
"""Opens a teacher with an adapter, or with none, for the recipe and output folder at hand."""


def verbalize(
    recipe: Recipe, rows: Sequence[Sample], adapter: Path | None, out: Path, open_teacher: OpenTeacher
) -> dict[str, Any]:
    """Train on the recipe's splits of `rows`; returns the number of examples and the temperatures by task.

    Raises UserError where stage 1 learned the label of every row, unless the recipe's teachers are cross-fitted.
    """
    samples = in_splits(rows, recipe.splits, recipe.data)
    temperatures: dict[str, float] = {}
    if recipe.target == "votes":
        samples = take(samples, np.flatnonzero(labelled_and_rated(samples)[1]))
        refuse_without_rationale(recipe, samples)
        examples = vote_examples(samples, load_template(recipe.template), recipe.spread)
    else:
        refuse_taught(recipe, samples)
        print(f"  querying the stage-1 model about {len(samples)} pictures", flush=True)
        examples, temperatures = _queried(
            recipe, rows, samples, adapter, lambda folder: open_teacher(recipe, folder, out)
        )
    train_supervised(recipe, examples, model_folder(recipe.model), adapter, out, title="verbalize")
    return {"examples": len(examples), "temperatures": temperatures}


def _queried(
    recipe: Recipe, rows: Sequence[Sample], samples: Sequence[Sample], adapter: Path | None, opened: OpenAdapter
) -> tuple[list[TrainingExample], dict[str, float]]:
    """Examples of the stage-1 model's beliefs about the samples, and its temperatures by task."""
    if recipe.target in ("agreement", "degraded"):
        with opened(adapter) as teacher:
            believed = (agreement if recipe.target == "agreement" else survival)(samples, teacher)
        return belief_examples(recipe, samples, believed), {}
    calibration = in_splits(rows, ["calibrate"], recipe.data)
    if recipe.target == "signals":
        without_votes = [sample for sample in samples if not has_votes(sample)]
        with opened(adapter) as teacher:
            fitting = teacher.predictions(calibration, recipe.signals)
            predictions = teacher.predictions(without_votes, recipe.signals)
        return _votes_or_signals(recipe, samples, list(zip(without_votes, predictions, strict=True)), fitting), {}
    if load_template(recipe.template).reasons:
        # The rows' rationales are not given: their authors knew the label, so that after them every answer is certain.
        # The model will only ever read its own reasoning, some of which is wrong.
        with opened(adapter) as teacher:
            calibration, fitted = _readable(calibration, teacher)
            samples, answers = _readable(samples, teacher)
        temperatures = temperatures_of(calibration, [belief for belief, _ in fitted])
        believed = scaled_beliefs(samples, [belief for belief, _ in answers], temperatures)
        believed = replace(believed, reasonings=[reasoning for _, reasoning in answers])
    else:
        held_out, beliefs = _probabilities(recipe, calibration, samples, adapter, opened)
        temperatures = temperatures_of(calibration, held_out)
        believed = scaled_beliefs(samples, beliefs, temperatures)
    return belief_examples(recipe, samples, believed), temperatures


def _readable(samples: Sequence[Sample], teacher: Teacher) -> tuple[list[Sample], list[tuple[Floats, str]]]:
    """The samples whose answer and reasoning can be read, with belief and reasoning. Raises UserError if none can."""
    kept, answers = list[Sample](), list[tuple[Floats, str]]()
    for sample, answer in zip(samples, teacher.answers(samples, teacher.question), strict=True):
        if answer.label is not None and answer.belief is not None and answer.reasoning is not None:
            kept.append(sample)
            answers.append((answer.belief, answer.reasoning))
    _note_unreadable(len(samples) - len(kept), len(samples))
    return kept, answers


def _note_unreadable(count: int, of: int) -> None:
    if count == of:
        raise UserError(
            "the stage-1 model wrote no reasoning and answer that can be read; train stage 1 for longer, or raise"
            " max_answer_tokens"
        )
    if count:
        print(f"  {count} of {of} pictures without readable reasoning and answer are left out", flush=True)


def _votes_or_signals(
    recipe: Recipe,
    samples: Sequence[Sample],
    predicted: Sequence[tuple[Sample, Prediction]],
    calibration: Sequence[Prediction],
) -> list[TrainingExample]:
    """The raters' share for samples with votes; for the `predicted` ones, the confidence that a map of the teacher's
    signals, fitted on `calibration`, gives. Samples without a readable answer are left out."""
    readable = [(sample, row) for sample, row in predicted if row.distribution]
    if len(readable) < len(predicted):
        print(f"  {len(predicted) - len(readable)} pictures without a readable answer are left out", flush=True)
    by_votes = [sample for sample in samples if has_votes(sample)]
    by_signals = [sample for sample, _ in readable]
    believed = signal_beliefs(by_signals, [row for _, row in readable], calibration)
    return [
        *vote_examples(by_votes, load_template(recipe.template), recipe.spread),
        *belief_examples(recipe, by_signals, believed),
    ]


def belief_examples(recipe: Recipe, samples: Sequence[Sample], believed: Beliefs) -> list[TrainingExample]:
    """Examples that state the confidence, or the distribution where the template has a field for it."""
    template = load_template(recipe.template)
    if "distribution" in template.fields:
        return distribution_examples(samples, believed.stated, template)
    if believed.reasonings is None:
        return distilled_examples(samples, believed.beliefs, believed.confidences, template, recipe.spread)
    kept = [n for n, reasoning in enumerate(believed.reasonings) if reasoning is not None]
    _note_unreadable(len(samples) - len(kept), len(samples))
    return distilled_examples(
        [samples[n] for n in kept],
        [believed.beliefs[n] for n in kept],
        believed.confidences[kept],
        template,
        recipe.spread,
        [believed.reasonings[n] for n in kept],
    )


def refuse_taught(recipe: Recipe, samples: Sequence[Sample]) -> None:
    """Raises UserError where stage 1 learned the label of every row: its beliefs about them are partly memorised, and a
    temperature fitted on other rows does not correct that."""
    if recipe.teachers or any(sample.label is None or sample.split != STAGE_1_SPLIT for sample in samples):
        return
    raise UserError(
        f"{recipe.path}: splits: stage 1 learned the label of every row of {', '.join(recipe.splits)}, so that its"
        " probability of them says too much. Add rows without labels (splits=[unlabelled, train]), or cross-fit: train"
        " stage 1 with fold=1/2 and with fold=2/2, and give teachers=[FIRST/adapter, SECOND/adapter]"
    )


def _probabilities(
    recipe: Recipe,
    calibration: Sequence[Sample],
    samples: Sequence[Sample],
    adapter: Path | None,
    opened: OpenAdapter,
) -> tuple[list[Floats], list[Floats]]:
    """Stage 1's label probabilities for both lists; with several teachers, each row's mean over the teachers that were
    not trained on its fold.

    Raises UserError where there is no record of how a teacher was trained, or every teacher was trained on a row.
    """
    if not recipe.teachers:
        with opened(adapter) as teacher:
            return teacher.label_probabilities(calibration), teacher.label_probabilities(samples)
    folders, both = [Path(folder) for folder in recipe.teachers], [*calibration, *samples]
    try:
        parts = rows_by_teacher([sample.cluster for sample in both], [left_out_fold(folder) for folder in folders])
    except ValueError as error:
        raise UserError(f"{recipe.path}: teachers: {error}") from None
    by_teacher = []
    for folder, numbers in zip(folders, parts, strict=True):
        with opened(folder) as teacher:
            by_teacher.append((numbers, teacher.label_probabilities([both[n] for n in numbers])))
    beliefs = averaged(len(both), by_teacher)
    return beliefs[: len(calibration)], beliefs[len(calibration) :]
