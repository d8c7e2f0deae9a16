"""Metrics of prediction sets (coverage against nominal coverage, and size), and the frequency of reasons for doubt.

Sets are assessed by their coverage relative to the nominal coverage, and among valid sets by their size. Coverage over
raters is the mean share of a row's votes for labels in its set: the probability that the set contains the answer of a
rater drawn at random.

    values = set_scores(sets, truth, votes, nominal_coverage).mean(0)       # the columns of SET_METRICS
"""

from __future__ import annotations

import numpy as np

from emocaliber.core.predictions import Reason
from emocaliber.evaluation.cells import MetricFamily, Values, distinct_rows
from emocaliber.evaluation.counts import FloatArray, IntArray, ratio

SET_METRICS = ("set_promise", "set_coverage", "set_rater_coverage", "set_size", "set_singletons", "set_empty",
               "set_singleton_accuracy")  # fmt: skip
"""The first six are means over rows, the last is a mean over the rows whose set has one label."""


def set_scores(sets: FloatArray, truth: IntArray, votes: FloatArray | None, nominal_coverage: FloatArray) -> FloatArray:
    """For each row: nominal coverage, whether the set contains the truth, the share of votes for its labels, its size,
    whether it has one label, whether it is empty, and whether it is exactly {truth}, (n, 7).

    `sets` (n, L) is 1 for the labels in the set; `truth` (n,) indexes its columns; `votes` (n, L) are counts, with at
    least one vote per row; if None, the column of vote shares is 0.
    """
    size = sets.sum(1)
    holds = np.take_along_axis(sets, truth[:, None], 1)[:, 0]
    shares = np.zeros(len(sets)) if votes is None else (sets * votes).sum(1) / votes.sum(1)
    return np.column_stack((nominal_coverage, holds, shares, size, size == 1, size == 0, (size == 1) * holds))


def set_family(
    rows: IntArray,
    sets: FloatArray,
    truth: IntArray,
    votes: FloatArray | None,
    nominal_coverage: FloatArray,
    labels_per_row: FloatArray,
) -> MetricFamily:
    """The metrics of these rows' sets. In headline values, a row without a set (all NaN) counts as uncovered and of the
    size of its task's label list, which is worse than any set."""
    present = np.isfinite(sets).all(1)
    scores = set_scores(np.nan_to_num(sets), truth, votes, np.nan_to_num(nominal_coverage))
    scores[~present] = 0.0
    scores[~present, 0] = np.mean(nominal_coverage[present])
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
    """The share of rows with each reason for doubt; the codes (n,) index Reason, -1 for none."""
    codes, distinct = distinct_rows(reasons[:, None].astype(np.float64))

    def statistic(counts: FloatArray) -> Values:
        total = counts.sum(-1)
        return {
            f"{prefix}.reason_{reason}": ratio((counts * (distinct[:, 0] == code)).sum(-1), total)
            for prefix in ("headline", "answered")
            for code, reason in enumerate(Reason)
        }

    return MetricFamily(rows, codes, len(distinct), statistic)
