"""Training targets: what a stage learns to answer for each sample, from labels, raters' votes, a teacher's beliefs or
its answers.

Pure functions; a teacher's beliefs come from emocaliber.stages.teacher.

    examples = distilled_examples(samples, beliefs, confidences, load_template("label-confidence"), spread=0.05)
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

NARROWEST = 0.025
"""The standard deviation, half a level, below which a discretised normal density's mean is not its centre."""


def spread_over_levels(confidence: float, spread: float) -> tuple[float, ...]:
    """A distribution over the 21 levels around a confidence in [0, 1].

    With `spread` 0 it is two-hot: the two neighbouring levels, weighted so that their mean is the confidence. Otherwise
    a discretised normal density with that standard deviation: a near miss costs less than a far one, and the likeliest
    level is the nearest. The deviation is at most half the distance to the nearer of 0 and 1, and below NARROWEST the
    distribution is two-hot: a density cut off at the end of the scale has another mean than the confidence, 0.91 for
    0.95 with a spread of 0.1. Raises ValueError outside [0, 1].
    """
    if not 0.0 <= confidence <= 1.0:
        raise ValueError(f"{confidence} is no probability")
    levels = np.asarray(LEVELS)
    spread = min(spread, confidence / 2, (1 - confidence) / 2)
    if spread < NARROWEST:
        weights = np.clip(1 - np.abs(levels - confidence) / (levels[1] - levels[0]), 0, None)
    else:
        weights = np.exp(-0.5 * ((levels - confidence) / spread) ** 2)
    return tuple((weights / weights.sum()).tolist())


def nearest_level(confidence: float) -> float:
    """The level nearest to a confidence, which is the one to write."""
    return min(LEVELS, key=lambda level: abs(level - confidence))


def label_examples(samples: Sequence[Sample], template: Template, *, votes: bool = False) -> Sequence[TrainingExample]:
    """Stage 1: each row's label; with `votes`, first the rows with votes and their raters' distribution, then the rest.

    The examples are lazy.
    """
    has_label, rated = labelled_and_rated(samples)
    by_votes = rated & votes
    if not (has_label | by_votes).all():
        missing = samples[int((has_label | by_votes).argmin())].id
        raise UserError(
            f"{missing}: stage 1 needs a label for every row; leave the split 'unlabelled' out, learn from votes"
            " (target=votes), or leave such rows out (drop_problems=true)"
        )
    if votes and not by_votes.any():
        raise UserError("target votes: no row has rater votes; take the key 'target' out to learn from the labels")
    by_label_alone = not (by_votes.all() or template.reasons)
    all_labels = {label for _, labels in questions(samples) for label in labels} if by_label_alone else set()
    answers = {label: template.write(label=label) for label in all_labels}

    def example(sample: Sample) -> TrainingExample:
        if votes and has_votes(sample):
            return vote_examples([sample], template, 0.0)[0]
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


def scaled_beliefs(samples: Sequence[Sample], beliefs: Sequence[Floats], temperatures: Mapping[str, float]) -> Beliefs:
    """A teacher's beliefs, with the distributions and confidences to state after temperature scaling by task."""
    stated = [
        tempered(belief[None], temperatures[sample.task])[0] for sample, belief in zip(samples, beliefs, strict=True)
    ]
    return Beliefs(list(beliefs), stated, np.array([float(share.max()) for share in stated]))


def signal_beliefs(samples: Sequence[Sample], rows: Sequence[Prediction], calibration: Sequence[Prediction]) -> Beliefs:
    """A teacher's beliefs, with the confidences that a map of all its signals gives them.

    `rows` are its predictions about the samples. The map is fitted on `calibration` rows, one for each task that has
    enough of them. The distribution to state has the confidence at the answer and the other labels in proportion.
    Raises UserError where no calibration row has a label.
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


def answer_examples(
    samples: Sequence[Sample], answers: Sequence[Answer], template: Template, spread: float
) -> list[TrainingExample]:
    """Stage 3: the model's own answers, with whether each is correct and its own beliefs as the reference to stay near.

    The reference for the confidence is the probability of the stated label, temperature-scaled by task on the labelled
    samples and spread over the levels: a model's label probability is better calibrated than the confidence that it
    states. For a sample without a label, this probability also takes the place of its correctness. Answers that cannot
    be read are left out; raises UserError where none can be read.
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


def distilled_examples(
    samples: Sequence[Sample],
    beliefs: Sequence[Floats],
    confidences: Floats,
    template: Template,
    spread: float,
    reasonings: Sequence[str | None] | None = None,
) -> list[TrainingExample]:
    """Examples that state the teacher's likeliest label and its confidence, after the teacher's reasoning if given.

    `beliefs` holds the teacher's distribution over each sample's candidates, which is the label's soft target;
    `confidences` [n] the calibrated probability that its likeliest label is correct.
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
    """A distribution rounded to the levels so that it still sums to 1: largest remainders, ties to the earlier one.

    Raises ValueError where the shares do not sum to 1 or one is negative.
    """
    if abs(shares.sum() - 1) > 1e-6 or shares.min() < 0:
        raise ValueError(f"{shares.tolist()} is no distribution")
    steps = len(LEVELS) - 1
    counts = np.floor(shares * steps + 1e-9).astype(int)
    order = np.argsort(counts - shares * steps, kind="stable")
    counts[order[: steps - counts.sum()]] += 1
    return tuple(LEVELS[n] for n in counts.tolist())


def distribution_examples(
    samples: Sequence[Sample], shares: Sequence[Floats], template: Template
) -> list[TrainingExample]:
    """Examples that state a distribution over all candidates, the likeliest first, rounded to the levels.

    `shares` holds a calibrated distribution over each sample's candidates. The first candidate is the answer, its share
    the confidence.
    """
    examples = []
    for sample, distribution in zip(samples, shares, strict=True):
        stated = apportioned(distribution)
        order = np.argsort(-distribution, kind="stable").tolist()
        examples.append(
            TrainingExample(sample, template.write(distribution={sample.candidates[k]: stated[k] for k in order}))
        )
    return examples


def has_votes(sample: Sample) -> bool:
    """Whether any rater voted."""
    return any((sample.votes or {}).values())


def vote_examples(samples: Sequence[Sample], template: Template, spread: float) -> list[TrainingExample]:
    """Examples for samples with votes: the label, with the share of raters who chose it as the confidence (0 where the
    label comes from elsewhere and no rater chose it). Without a label, the raters' favourite, of equals the first.

    The label's soft target is the raters' distribution. A template with a distribution states theirs, one without a
    confidence the label alone, and one that reasons begins with the sample's rationale. Raises ValueError for a sample
    without votes.
    """
    examples = []
    for sample in samples:
        if not sample.votes or not has_votes(sample):
            raise ValueError(f"{sample.id}: the target 'votes' needs rater votes")
        total = sum(sample.votes.values())
        shares = tuple(sample.votes.get(candidate, 0) / total for candidate in sample.candidates)
        label = sample.label or sample.candidates[int(np.argmax(shares))]
        if "distribution" in template.fields:
            examples += distribution_examples([sample], [np.array(shares)], template)
            continue
        reasoning = sample.rationale if template.reasons else None
        if "confidence" not in template.fields:
            examples.append(TrainingExample(sample, template.write(label=label, reasoning=reasoning), shares))
            continue
        share = sample.votes.get(label, 0) / total
        text = template.write(label=label, confidence=nearest_level(share), reasoning=reasoning)
        examples.append(TrainingExample(sample, text, shares, spread_over_levels(share, spread)))
    return examples
