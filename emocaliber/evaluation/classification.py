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


@metric
def overconfidence(counts: Counts) -> FloatArray:
    """Mean confidence minus the share of right answers, over the answered rows, (...), in [-1, 1]."""
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
    in_vain: ArrayLike = 0.0,
    unnamed: int = 0,
) -> F1:
    """F1 as scikit-learn computes it, from C distinct pairs of label indices, (C,) each, and their counts, (..., C).

    A prediction of -1 is no label: it costs recall and belongs to no label's precision. A pair that is not `valid`,
    (C,), is a label without a confidence: it counts as named, and as wrong. `in_vain` (...) rows may have named any
    label, and count against the precision of those whose F1 that lowers most; `unnamed` of the labels are neither true
    nor named in any of the rows, and such a row may have been the first to name one.
    """
    rows = np.asarray(counts, np.float64)
    true, guess = np.asarray(truth), np.asarray(predicted)
    index = np.arange(labels)
    is_true = (true[:, None] == index).astype(np.float64)
    is_guess = (guess[:, None] == index).astype(np.float64)
    support, named = rows @ is_true, rows @ is_guess
    hits = rows @ (is_true * is_guess * np.asarray(valid, np.float64).reshape(-1, 1))
    wasted = np.asarray(in_vain, np.float64)
    occur = (support + named > 0).sum(-1) + np.minimum(wasted, unnamed)
    return F1(
        ratio(_least_sum(2 * hits * support, support + named, wasted), support.sum(-1)),
        ratio(_least_sum(2 * hits, support + named, wasted), occur),
    )


def _least_sum(gains: FloatArray, sizes: FloatArray, wasted: FloatArray) -> FloatArray:
    """The least sum over labels (..., L) of gains / (sizes + w), where the w, not negative, add up to `wasted` (...).

    The w that are not 0 make sizes + w proportional to the root of the gains (Lagrange's condition): labels take part
    in order of sizes / root, up to the first whose ratio is above that of those before it.
    """
    root = np.sqrt(gains)
    ratios = np.divide(sizes, root, out=np.full_like(sizes, np.inf), where=root > 0)
    order = np.argsort(ratios, -1)
    ratios, root, gains, sizes = (np.take_along_axis(each, order, -1) for each in (ratios, root, gains, sizes))
    common = ratio(wasted[..., None] + np.cumsum(sizes, -1), np.cumsum(root, -1))
    take_part = (ratios < common) & (wasted[..., None] > 0)
    last = np.maximum(take_part.sum(-1, keepdims=True) - 1, 0)
    lowered = ratio(root, np.take_along_axis(common, last, -1))
    return np.asarray(np.where(take_part, lowered, np.nan_to_num(ratio(gains, sizes))).sum(-1))


def label_family(
    rows: IntArray, truth: IntArray, predicted: IntArray, usable: BoolArray, labels: int, known: int
) -> MetricFamily:
    """F1 of the labels, of which the tasks of these rows have `known`. In headline values an invalid row's label is
    named in vain, and a row without one may have named any, so that refusing gains nothing."""
    width = labels + 1
    codes, pairs = dense_codes((truth * width + predicted + 1) * 2 + usable, 2 * labels * width)
    true, guess, valid = pairs // (2 * width), pairs // 2 % width - 1, pairs % 2 == 1

    unread = guess < 0
    unnamed = max(0, known - np.union1d(true, guess[~unread]).size)

    def statistic(counts: FloatArray) -> Values:
        in_vain = counts @ unread
        headline = f1_scores(true, guess, counts, labels, valid=valid, in_vain=in_vain, unnamed=unnamed)
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
