"""Targets: what a stage learns to say of each sample, from labels, raters' votes, a teacher's beliefs or its answers.

Pure functions; what a teacher believes comes from emocaliber.stages.teacher.

    examples = distilled(samples, beliefs, confidences, load_template("label-confidence"), spread=0.05)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from emocaliber.calibration.fit import ALL, fit_recalibrator
from emocaliber.calibration.maps import fit_temperature, tempered
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction
from emocaliber.core.prompting import LEVELS, Template
from emocaliber.core.samples import Sample
from emocaliber.data.sample_table import labelled_and_rated, questions, take
from emocaliber.stages.examples import Examples, TrainingExample
from emocaliber.stages.teacher import Answer, Beliefs, Floats


def spread_over_levels(confidence: float, spread: float) -> tuple[float, ...]:
    """A distribution over the levels around a confidence in [0, 1].

    With `spread` 0 it is two-hot: the two neighbouring levels, their mean the confidence. Above, a discretised normal
    density of that standard deviation: a near miss costs less than a far one, and the greedy level is the nearest.
    Raises ValueError outside [0, 1].
    """
    if not 0.0 <= confidence <= 1.0:
        raise ValueError(f"{confidence} is no probability")
    levels = np.asarray(LEVELS)
    if spread <= 0:
        weights = np.clip(1 - np.abs(levels - confidence) / (levels[1] - levels[0]), 0, None)
    else:
        weights = np.exp(-0.5 * ((levels - confidence) / spread) ** 2)
    return tuple((weights / weights.sum()).tolist())


def nearest_level(confidence: float) -> float:
    """The level that is written for a confidence."""
    return min(LEVELS, key=lambda level: abs(level - confidence))


def labelled(samples: Sequence[Sample], template: Template, *, votes: bool = False) -> Sequence[TrainingExample]:
    """Stage 1: the label as it stands, or with `votes` the raters' distribution of rows that have votes, these first.

    An example is made when it is read.
    """
    has_label, has_votes = labelled_and_rated(samples)
    by_votes = has_votes & votes
    if not (has_label | by_votes).all():
        missing = samples[int((has_label | by_votes).argmin())].id
        raise UserError(
            f"{missing}: stage 1 needs a label for every row; leave the split 'unlabelled' out, learn from votes"
            " (target=votes), or leave such rows out (drop_problems=true)"
        )
    if votes and not by_votes.any():
        raise UserError("target votes: no row has rater votes; take the key 'target' out to learn from the labels")
    alike = not (by_votes.all() or template.reasons)
    named = {label for _, labels in questions(samples) for label in labels} if alike else set()
    answers = {label: template.write(label=label) for label in named}

    def example(sample: Sample) -> TrainingExample:
        if votes and rated(sample):
            return voted([sample], template, 0.0)[0]
        label = str(sample.label)
        text = template.write(label=label, reasoning=sample.rationale) if template.reasons else answers[label]
        return TrainingExample(sample, text)

    return Examples(take(samples, np.concatenate([np.flatnonzero(by_votes), np.flatnonzero(~by_votes)])), example)


def temperatures_of(samples: Sequence[Sample], beliefs: Sequence[Floats]) -> dict[str, float]:
    """One temperature per task, fitted on labelled samples. Raises UserError naming a task that has none."""
    fitted = {}
    for task in sorted({sample.task for sample in samples}):
        rows = [i for i, sample in enumerate(samples) if sample.task == task and sample.label is not None]
        if not rows:
            raise UserError(f"task {task}: no calibration row has a label; a temperature cannot be fitted without one")
        truth = np.array([samples[i].candidates.index(str(samples[i].label)) for i in rows])
        fitted[task] = fit_temperature(np.stack([beliefs[i] for i in rows]), truth)
    return fitted


def scaled(samples: Sequence[Sample], beliefs: Sequence[Floats], temperatures: Mapping[str, float]) -> Beliefs:
    """A teacher's beliefs with the confidences that its temperatures, one a task, make of them."""
    stated = [
        tempered(belief[None], temperatures[sample.task])[0] for sample, belief in zip(samples, beliefs, strict=True)
    ]
    return Beliefs(list(beliefs), stated, np.array([float(share.max()) for share in stated]))


def by_signals(samples: Sequence[Sample], rows: Sequence[Prediction], calibration: Sequence[Prediction]) -> Beliefs:
    """A teacher's beliefs, with the confidences that a map of all its signals makes of them.

    `rows` are what it was asked about the samples; the map is fitted on `calibration` rows, one a task where there are
    enough. The stated distribution has the confidence at the answer, the rest in proportion. Raises UserError where no
    calibration row has a label.
    """
    fitting = [row for row in calibration if row.truth is not None and row.distribution]
    if not fitting:
        raise UserError("target signals: no calibration row has a label and a readable answer to fit a map on")
    confidences = fit_recalibrator(fitting, ALL, "signals", per_task=True).confidences(rows)
    beliefs = [
        np.array([(row.distribution or {})[c] for c in s.candidates]) for s, row in zip(samples, rows, strict=True)
    ]
    stated = []
    for belief, confidence in zip(beliefs, confidences.tolist(), strict=True):
        top, rest = int(belief.argmax()), 1 - belief.max()
        shares = (
            belief * (1 - confidence) / rest
            if rest > 1e-9
            else np.full(len(belief), (1 - confidence) / max(1, len(belief) - 1))
        )
        shares[top] = confidence
        stated.append(shares)
    return Beliefs(beliefs, stated, confidences)


def own_answers(
    samples: Sequence[Sample], answers: Sequence[Answer], template: Template, spread: float
) -> list[TrainingExample]:
    """Stage 3: the model's own answers, what it believes as anchors, and whether each was right.

    The anchor of the confidence is the probability of the stated label, temperature-scaled on the labelled samples (one
    number a task), spread over the levels: the model's label probability knows more than what it says. Of a sample
    without a label nobody knows whether the answer is right: that probability stands for it. An answer that cannot be
    read teaches nothing and is left out; raises UserError where none can.
    """
    readable = [
        (sample, answer.label, answer.confidence, answer.belief, answer.reasoning)
        for sample, answer in zip(samples, answers, strict=True)
        if answer.label is not None and answer.confidence is not None and answer.belief is not None
        if answer.reasoning is not None or not template.reasons
    ]
    if not readable:
        more = ", or raise max_answer_tokens" if template.reasons else ""
        raise UserError(f"the stage-2 model gave no readable answer to learn from; train stage 2 for longer{more}")
    temperatures = temperatures_of([sample for sample, *_ in readable], [belief for *_, belief, _ in readable])
    examples = []
    for sample, label, stated, belief, reasoning in readable:
        scaled_belief = tempered(belief[None], temperatures[sample.task])[0]
        believed = float(scaled_belief[sample.candidates.index(label)])
        examples.append(
            TrainingExample(
                sample,
                template.write(label=label, confidence=nearest_level(stated), reasoning=reasoning),
                label_target=tuple(belief.tolist()),
                level_target=spread_over_levels(believed, spread),
                correct=believed if sample.label is None else float(label == sample.label),
            )
        )
    return examples


def distilled(
    samples: Sequence[Sample],
    beliefs: Sequence[Floats],
    confidences: Floats,
    template: Template,
    spread: float,
    reasonings: Sequence[str | None] | None = None,
) -> list[TrainingExample]:
    """Training examples that say the teacher's label with the given confidence, after its own reasoning if it reasons.

    `beliefs` holds the teacher's distribution over each sample's candidates, kept as the label's soft target;
    `confidences` [n] the probability that its likeliest label is right, as calibrated.
    """
    before = [None] * len(samples) if reasonings is None else reasonings
    examples = []
    for sample, belief, confidence, reasoning in zip(samples, beliefs, confidences, before, strict=True):
        label = sample.candidates[int(np.argmax(belief))]
        examples.append(
            TrainingExample(
                sample,
                template.write(label=label, confidence=nearest_level(float(confidence)), reasoning=reasoning),
                label_target=tuple(belief.tolist()),
                level_target=spread_over_levels(float(confidence), spread),
            )
        )
    return examples


def apportioned(shares: Floats) -> tuple[float, ...]:
    """A distribution in steps of the levels that sums to 1: largest remainders, ties to the earlier one.

    Raises ValueError where the shares do not sum to 1 or one is negative.
    """
    if abs(shares.sum() - 1) > 1e-6 or shares.min() < 0:
        raise ValueError(f"{shares.tolist()} is no distribution")
    steps = len(LEVELS) - 1
    counts = np.floor(shares * steps + 1e-9).astype(int)
    order = np.argsort(counts - shares * steps, kind="stable")
    counts[order[: steps - counts.sum()]] += 1
    return tuple(LEVELS[n] for n in counts.tolist())


def distributed(samples: Sequence[Sample], shares: Sequence[Floats], template: Template) -> list[TrainingExample]:
    """Training examples that say a distribution over all candidates, the likeliest first, in steps of the levels.

    `shares` holds one calibrated distribution over each sample's candidates. The first one said is the answer, its
    share the confidence.
    """
    examples = []
    for sample, own in zip(samples, shares, strict=True):
        stated = apportioned(own)
        order = np.argsort(-own, kind="stable").tolist()
        examples.append(
            TrainingExample(sample, template.write(distribution={sample.candidates[k]: stated[k] for k in order}))
        )
    return examples


def rated(sample: Sample) -> bool:
    """Whether any rater voted."""
    return any((sample.votes or {}).values())


def voted(samples: Sequence[Sample], template: Template, spread: float) -> list[TrainingExample]:
    """Training examples for samples with rater votes: the label with the share of raters who chose it, which may be
    none of them where the label is not the raters' own. Where votes tie and no label is given, the first of the
    favourites is written; what is learned of the label is the distribution.

    The label's soft target is the raters' distribution; a template that states a distribution states theirs, one
    without a confidence states the label alone; one that reasons begins with the sample's rationale. Raises ValueError
    for a sample without votes.
    """
    examples = []
    for sample in samples:
        if not sample.votes or not rated(sample):
            raise ValueError(f"{sample.id}: the target 'votes' needs rater votes")
        total = sum(sample.votes.values())
        shares = tuple(sample.votes.get(candidate, 0) / total for candidate in sample.candidates)
        label = sample.label or sample.candidates[int(np.argmax(shares))]
        if "distribution" in template.fields:
            examples += distributed([sample], [np.array(shares)], template)
            continue
        reasoning = sample.rationale if template.reasons else None
        if "confidence" not in template.fields:
            examples.append(TrainingExample(sample, template.write(label=label, reasoning=reasoning), shares))
            continue
        share = sample.votes.get(label, 0) / total
        text = template.write(label=label, confidence=nearest_level(share), reasoning=reasoning)
        examples.append(TrainingExample(sample, text, shares, spread_over_levels(share, spread)))
    return examples
