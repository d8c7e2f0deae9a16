"""Classification metrics, which ignore the confidence: accuracy and F1.

from emocaliber.evaluation import accuracy
accuracy(confidence, correct)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from emocaliber.evaluation.cells import MetricFamily, Values, dense_codes
from emocaliber.evaluation.counts import BoolArray, Counts, FloatArray, IntArray, metric, ratio


@metric
def accuracy(counts: Counts) -> FloatArray:
    """Share of rows that are right, (...); invalid rows count as wrong."""
    return ratio(counts.hits.sum(-1), counts.n)


@metric
def label_accuracy(counts: Counts) -> FloatArray:
    """Share of rows whose label is right, with or without a confidence, (...)."""
    return ratio(counts.hits.sum(-1) + counts.invalid_right, counts.n)


@metric
def mean_confidence(counts: Counts) -> FloatArray:
    """Mean confidence of the answered rows, (...)."""
    return ratio(counts.rows @ counts.values, counts.answered)


@metric
def overconfidence(counts: Counts) -> FloatArray:
    """Mean confidence minus accuracy, over the answered rows, (...), in [-1, 1]."""
    return ratio(counts.rows @ counts.values - counts.hits.sum(-1), counts.answered)


@dataclass(frozen=True)
class F1:
    """`weighted` by each label's support; `macro` over the labels that occur as truth or prediction. Each (...)."""

    weighted: FloatArray
    macro: FloatArray


def f1_scores(
    truth: ArrayLike,
    predicted: ArrayLike,
    counts: ArrayLike,
    labels: int,
    *,
    valid: ArrayLike = True,
    unread: ArrayLike = 0.0,
    unnamed: int = 0,
) -> F1:
    """F1 as scikit-learn computes it, from C distinct (truth, predicted) pairs, (C,) each, and their counts (..., C).

    A prediction of -1 means no label: it lowers recall and affects no label's precision. A pair that is not `valid`,
    (C,), is a label without a confidence: it counts as a wrong prediction of that label. `unread` (...) further rows
    might have predicted any label; they count against the precision of the labels for which this lowers F1 most.
    `unnamed` labels occur neither as truth nor as prediction, and an unread row might have been the first to name one.
    """
    rows = np.asarray(counts, np.float64)
    true, guess = np.asarray(truth), np.asarray(predicted)
    index = np.arange(labels)
    is_true = (true[:, None] == index).astype(np.float64)
    is_guess = (guess[:, None] == index).astype(np.float64)
    support, named = rows @ is_true, rows @ is_guess
    hits = rows @ (is_true * is_guess * np.asarray(valid, np.float64).reshape(-1, 1))
    extra = np.asarray(unread, np.float64)
    occur = (support + named > 0).sum(-1) + np.minimum(extra, unnamed)
    return F1(
        ratio(_least_sum(2 * hits * support, support + named, extra), support.sum(-1)),
        ratio(_least_sum(2 * hits, support + named, extra), occur),
    )


def _least_sum(gains: FloatArray, sizes: FloatArray, extra: FloatArray) -> FloatArray:
    """The minimum over w of the sum over labels (..., L) of gains / (sizes + w), with w >= 0 summing to `extra` (...).

    By the Lagrange condition, sizes + w is proportional to sqrt(gains) for the labels with w > 0. These are found by
    adding labels in ascending order of sizes / sqrt(gains) while that ratio is below the common factor of those added.
    """
    root = np.sqrt(gains)
    ratios = np.divide(sizes, root, out=np.full_like(sizes, np.inf), where=root > 0)
    order = np.argsort(ratios, -1)
    ratios, root, gains, sizes = (np.take_along_axis(each, order, -1) for each in (ratios, root, gains, sizes))
    common = ratio(extra[..., None] + np.cumsum(sizes, -1), np.cumsum(root, -1))
    take_part = (ratios < common) & (extra[..., None] > 0)
    last = np.maximum(take_part.sum(-1, keepdims=True) - 1, 0)
    lowered = ratio(root, np.take_along_axis(common, last, -1))
    return np.asarray(np.where(take_part, lowered, np.nan_to_num(ratio(gains, sizes))).sum(-1))


def label_family(
    rows: IntArray, truth: IntArray, predicted: IntArray, usable: BoolArray, labels: int, known: int
) -> MetricFamily:
    """The F1 metrics. `labels` is the size of the vocabulary, `known` the number of labels of these rows' tasks.

    In headline values an invalid row counts as a wrong prediction of its label, or of any label if it has none, so
    that refusing to answer gains nothing.
    """
    width = labels + 1
    codes, pairs = dense_codes((truth * width + predicted + 1) * 2 + usable, 2 * labels * width)
    true, guess, valid = pairs // (2 * width), pairs // 2 % width - 1, pairs % 2 == 1

    no_label = guess < 0
    unnamed = max(0, known - np.union1d(true, guess[~no_label]).size)

    def statistic(counts: FloatArray) -> Values:
        unread = counts @ no_label
        headline = f1_scores(true, guess, counts, labels, valid=valid, unread=unread, unnamed=unnamed)
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
