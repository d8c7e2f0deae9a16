"""Classification: how often the label is right, whatever the confidence: accuracy and F1.

from emocaliber.evaluation import accuracy
accuracy(confidence, correct)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emocaliber.evaluation.counts import BoolArray, Counts, FloatArray, IntArray, metric, ratio
from emocaliber.evaluation.resampling import MetricFamily, Values, dense_codes


@metric
def accuracy(counts: Counts) -> FloatArray:
    """Share of rows that are right, (...); invalid rows are wrong."""
    return ratio(counts.hits.sum(-1), counts.n)


@metric
def label_accuracy(counts: Counts) -> FloatArray:
    """Share of rows whose label is right, whether or not a confidence came with it, (...)."""
    return ratio(counts.hits.sum(-1) + counts.invalid_right, counts.n)


@metric
def mean_confidence(counts: Counts) -> FloatArray:
    """Mean over the answered rows, (...)."""
    return ratio(counts.rows @ counts.values, counts.answered)


@dataclass(frozen=True)
class F1:
    """`weighted` by each label's support; `macro` over the labels that occur as truth or prediction. Each (...)."""

    weighted: FloatArray
    macro: FloatArray


def f1_scores(truth: ArrayLike, predicted: ArrayLike, counts: ArrayLike, labels: int, *, valid: ArrayLike = True) -> F1:
    """F1 as scikit-learn computes it, from C distinct pairs of label indices, (C,) each, and their counts, (..., C).

    A prediction of -1 is no label: it costs recall and belongs to no label's precision. A pair that is not `valid`,
    (C,), is a label without a confidence: it counts as named, and as wrong.
    """
    rows = np.asarray(counts, np.float64)
    true, guess = np.asarray(truth), np.asarray(predicted)
    index = np.arange(labels)
    is_true = (true[:, None] == index).astype(np.float64)
    is_guess = (guess[:, None] == index).astype(np.float64)
    support, named = rows @ is_true, rows @ is_guess
    hits = rows @ (is_true * is_guess * np.asarray(valid, np.float64).reshape(-1, 1))
    f1 = np.nan_to_num(ratio(2 * hits, support + named))
    occurs = support + named > 0
    return F1(ratio((f1 * support).sum(-1), support.sum(-1)), ratio((f1 * occurs).sum(-1), occurs.sum(-1)))


def label_family(rows: IntArray, truth: IntArray, predicted: IntArray, usable: BoolArray, labels: int) -> MetricFamily:
    """F1 of the labels. In headline values an invalid row's label is named in vain, so that refusing gains nothing."""
    width = labels + 1
    codes, pairs = dense_codes((truth * width + predicted + 1) * 2 + usable, 2 * labels * width)
    true, guess, valid = pairs // (2 * width), pairs // 2 % width - 1, pairs % 2 == 1

    def statistic(counts: FloatArray) -> Values:
        headline = f1_scores(true, guess, counts, labels, valid=valid)
        answered = headline
        if not valid.all():
            answered = f1_scores(true[valid], guess[valid], counts[..., valid], labels)
        return {
            "headline.weighted_f1": headline.weighted,
            "headline.macro_f1": headline.macro,
            "answered.weighted_f1": answered.weighted,
            "answered.macro_f1": answered.macro,
        }

    return MetricFamily(rows, codes, pairs.size, statistic)
