"""Stage 2, verbalize: state the confidence. What the model of stage 1 believes becomes the confidence to say. Where the
template reasons, it reasons first, and is learned from with its own reasoning.

Read from top to bottom: the rows, the teacher's beliefs about them, the targets, the training.

    emocaliber train recipes/tiny/2-verbalize.yaml --adapter out/1-label/adapter --out out/2-verbalize
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.data.sample_table import labelled_and_rated, take
from emocaliber.models.location import model_folder
from emocaliber.stages.clusters import averaged, kept_from, speakers
from emocaliber.stages.examples import TrainingExample, in_splits, refuse_without_rationale
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.supervised import train_supervised
from emocaliber.stages.targets import by_signals, distilled, distributed, rated, scaled, temperatures_of, voted
from emocaliber.stages.teacher import Beliefs, Floats, OpenTeacher, Teacher, agreement, survival

TAUGHT = "train"  # the split that stage 1 learns from


def verbalize(
    recipe: Recipe, rows: Sequence[Sample], adapter: Path | None, out: Path, open_teacher: OpenTeacher
) -> dict[str, Any]:
    """Train on the recipe's splits of `rows`; returns the number of examples, and the temperatures by task.

    Raises UserError where every row is one whose label taught the teacher, unless its folds are cross-fitted.
    """
    samples, template = in_splits(rows, recipe.splits, recipe.data), load_template(recipe.template)
    temperatures: dict[str, float] = {}
    if recipe.target == "votes":
        samples = take(samples, np.flatnonzero(labelled_and_rated(samples)[1]))
        refuse_without_rationale(recipe, samples)
        examples = voted(samples, template, recipe.spread)
    else:
        refuse_taught(recipe, samples)
        print(f"  querying the stage-1 model about {len(samples)} pictures", flush=True)
        if recipe.target == "own-probability" and template.reasons:
            samples, believed, temperatures = _after_reasoning(recipe, rows, samples, adapter, out, open_teacher)
        elif recipe.target == "own-probability":
            calibration = in_splits(rows, ["calibrate"], recipe.data)
            held_out, beliefs = _probabilities(recipe, calibration, samples, adapter, out, open_teacher)
            temperatures = temperatures_of(calibration, held_out)
            believed = scaled(samples, beliefs, temperatures)
        elif recipe.target == "signals":
            return _learn(recipe, _from_signals(recipe, rows, samples, adapter, out, open_teacher), adapter, out, {})
        else:
            with open_teacher(recipe, adapter, out) as teacher:
                believed = (agreement if recipe.target == "agreement" else survival)(samples, teacher)
        examples = stating(recipe, samples, believed)
    return _learn(recipe, examples, adapter, out, temperatures)


def _learn(
    recipe: Recipe, examples: list[TrainingExample], adapter: Path | None, out: Path, temperatures: dict[str, float]
) -> dict[str, Any]:
    train_supervised(recipe, examples, model_folder(recipe.model), adapter, out, title="verbalize")
    return {"examples": len(examples), "temperatures": temperatures}


def _after_reasoning(
    recipe: Recipe,
    rows: Sequence[Sample],
    samples: Sequence[Sample],
    adapter: Path | None,
    out: Path,
    open_teacher: OpenTeacher,
) -> tuple[Sequence[Sample], Beliefs, dict[str, float]]:
    """What stage 1 believes at the answer's place given the reasoning that it writes itself, which is also what is
    learned from; the samples of which that can be read, and the temperatures.

    Not given the rows' rationales, which were written by somebody who knew the label: after them every answer is
    certain, while a model at work meets its own reasoning alone, some of it wrong.
    """
    with open_teacher(recipe, adapter, out) as teacher:
        calibration, fitted = _readable(in_splits(rows, ["calibrate"], recipe.data), teacher)
        asked, answers = _readable(samples, teacher)
    temperatures = temperatures_of(calibration, [belief for belief, _ in fitted])
    believed = scaled(asked, [belief for belief, _ in answers], temperatures)
    return asked, replace(believed, reasonings=[reasoning for _, reasoning in answers]), temperatures


def _readable(samples: Sequence[Sample], teacher: Teacher) -> tuple[list[Sample], list[tuple[Floats, str]]]:
    """The samples whose answer and reasoning can be read, the beliefs and the reasonings. Raises UserError for none."""
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


def _from_signals(
    recipe: Recipe,
    rows: Sequence[Sample],
    samples: Sequence[Sample],
    adapter: Path | None,
    out: Path,
    open_teacher: OpenTeacher,
) -> list[TrainingExample]:
    """The raters' share where there are votes, else what a map of the teacher's signals says."""
    unrated = [sample for sample in samples if not rated(sample)]
    with open_teacher(recipe, adapter, out) as teacher:
        calibration = teacher.asked(in_splits(rows, ["calibrate"], recipe.data), recipe.signals)
        asked = teacher.asked(unrated, recipe.signals)
    readable = [(sample, row) for sample, row in zip(unrated, asked, strict=True) if row.distribution]
    if len(readable) < len(unrated):
        print(f"  {len(unrated) - len(readable)} pictures without a readable answer are left out", flush=True)
    taught, answers = [sample for sample, _ in readable], [row for _, row in readable]
    voting = voted([sample for sample in samples if rated(sample)], load_template(recipe.template), recipe.spread)
    return [*voting, *stating(recipe, taught, by_signals(taught, answers, calibration))]


def stating(recipe: Recipe, samples: Sequence[Sample], believed: Beliefs) -> list[TrainingExample]:
    """Examples that state the confidence, or the distribution where the template has a place for it."""
    template = load_template(recipe.template)
    if "distribution" in template.fields:
        return distributed(samples, believed.stated, template)
    if believed.reasonings is None:
        return distilled(samples, believed.beliefs, believed.confidences, template, recipe.spread)
    kept = [n for n, reasoning in enumerate(believed.reasonings) if reasoning is not None]
    _note_unreadable(len(samples) - len(kept), len(samples))
    return distilled(
        [samples[n] for n in kept],
        [believed.beliefs[n] for n in kept],
        believed.confidences[kept],
        template,
        recipe.spread,
        [believed.reasonings[n] for n in kept],
    )


def refuse_taught(recipe: Recipe, samples: Sequence[Sample]) -> None:
    """Raises UserError where the teacher learned the label of every row: what it believes of them is partly memory, and
    a temperature that is fitted on other rows does not undo that."""
    if recipe.teachers or any(sample.label is None or sample.split != TAUGHT for sample in samples):
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
    out: Path,
    open_teacher: OpenTeacher,
) -> tuple[list[Floats], list[Floats]]:
    """What stage 1 believes of both lists. Of several teachers, the mean of those that were kept from a row's fold.

    Raises UserError where how a teacher was trained is not known, or a row has none to speak for it.
    """
    if not recipe.teachers:
        with open_teacher(recipe, adapter, out) as teacher:
            return teacher.label_probabilities(calibration), teacher.label_probabilities(samples)
    folders, both = [Path(folder) for folder in recipe.teachers], [*calibration, *samples]
    try:
        parts = speakers([sample.cluster for sample in both], [kept_from(folder) for folder in folders])
    except ValueError as error:
        raise UserError(f"{recipe.path}: teachers: {error}") from None
    spoken = []
    for folder, numbers in zip(folders, parts, strict=True):
        with open_teacher(recipe, folder, out) as teacher:
            spoken.append((numbers, teacher.label_probabilities([both[n] for n in numbers])))
    beliefs = averaged(len(both), spoken)
    return beliefs[: len(calibration)], beliefs[len(calibration) :]
