"""Prediction sets against what they promise: how often they hold the answer, and how many labels that takes; and how
many rows have which reason for doubt.

A set is judged by its coverage, beside the promise, and among sets that keep it by its size; a set that is empty holds
nothing, one of every label says nothing. Coverage over raters is the mean share of a row's votes that its set holds,
which is the probability that it holds the answer of a rater drawn from them.

    values = set_scores(sets, truth, votes, promises).mean(0)       # the columns of SET_METRICS
"""

from __future__ import annotations

import numpy as np

from emocaliber.core.predictions import Reason
from emocaliber.evaluation.counts import FloatArray, IntArray, ratio
from emocaliber.evaluation.resampling import MetricFamily, Values, distinct_rows

SET_METRICS = ("set_promise", "set_coverage", "set_rater_coverage", "set_size", "set_singletons", "set_empty",
               "set_singleton_accuracy")  # fmt: skip
"""The first six are means over rows; the last is over the rows whose set holds one label."""


def set_scores(sets: FloatArray, truth: IntArray, votes: FloatArray | None, promises: FloatArray) -> FloatArray:
    """A row's promise, whether its set holds the truth, the share of its votes that it holds, its size, whether it is
    of one label, empty, and of one label that is the truth, (n, 7).

    `sets` (n, L) is 1 for the labels held; `truth` (n,) indexes its columns; `votes` (n, L) are counts, of which every
    row must have one; without them that column is 0.
    """
    size = sets.sum(1)
    holds = np.take_along_axis(sets, truth[:, None], 1)[:, 0]
    shares = np.zeros(len(sets)) if votes is None else (sets * votes).sum(1) / votes.sum(1)
    return np.column_stack((promises, holds, shares, size, size == 1, size == 0, (size == 1) * holds))


def set_family(
    rows: IntArray,
    sets: FloatArray,
    truth: IntArray,
    votes: FloatArray | None,
    promises: FloatArray,
    labels_per_row: FloatArray,
) -> MetricFamily:
    """The metrics of these rows' sets. A row without a set (all NaN) counts, among headline values, as one of every
    label of its task that holds nothing, which is worse than any set."""
    present = np.isfinite(sets).all(1)
    scores = set_scores(np.nan_to_num(sets), truth, votes, np.nan_to_num(promises))
    scores[~present] = 0.0
    scores[~present, 0] = np.mean(promises[present])
    scores[~present, 3] = labels_per_row[~present]
    codes, distinct = distinct_rows(np.column_stack((scores, np.ones(len(rows)), present)))
    columns = {"headline": distinct[:, :-1], "answered": distinct[:, :-1] * distinct[:, -1:]}

    def statistic(counts: FloatArray) -> Values:
        values: Values = {}
        for prefix, own in columns.items():
            sums = counts @ own
            for column, name in enumerate(SET_METRICS[:-1]):
                if name != "set_rater_coverage" or votes is not None:
                    values[f"{prefix}.{name}"] = ratio(sums[..., column], sums[..., -1])
            values[f"{prefix}.{SET_METRICS[-1]}"] = ratio(sums[..., 6], sums[..., 4])
        return values

    return MetricFamily(rows, codes, len(distinct), statistic)


def reason_family(rows: IntArray, reasons: IntArray) -> MetricFamily:
    """The share of rows with each reason for doubt, whose codes (n,) index Reason; -1 is none."""
    codes, distinct = distinct_rows(reasons[:, None].astype(np.float64))

    def statistic(counts: FloatArray) -> Values:
        total = counts.sum(-1)
        return {
            f"{prefix}.reason_{reason}": ratio((counts * (distinct[:, 0] == code)).sum(-1), total)
            for prefix in ("headline", "answered")
            for code, reason in enumerate(Reason)
        }

    return MetricFamily(rows, codes, len(distinct), statistic)
