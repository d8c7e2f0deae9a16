"""The review effort that a confidence saves: the mistakes left after people have reviewed the least confident rows.

A reviewed row is assumed to be right. Rows without a usable answer are reviewed first, then rows by ascending
confidence; within a block of ties the number of mistakes is its expectation over orders. For the number of reviews that
a guarantee takes see pac_labels.

    mistakes_left(count_rows(confidence, correct, invalid=3), np.array([0.0, 0.5, 1.0]))
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from emocaliber.core.prediction_table import PredictionTable
from emocaliber.evaluation.counts import Counts, FloatArray, IntArray, count_rows, count_table
from emocaliber.evaluation.curves import WorkCurve

POINTS = 101


def mistakes_left(counts: Counts, looked_at: ArrayLike) -> FloatArray:
    """The share of all rows still wrong after the share `looked_at` (k,) in [0, 1] was reviewed, for Counts without
    leading axes. Rows without a usable answer count as wrong until they are reviewed."""
    n, invalid = float(counts.n), float(counts.invalid)
    top = counts.tie_blocks
    ends = np.concatenate(([0.0], top.start + top.rows - invalid))
    wrong = np.concatenate(([0.0], top.errors + top.wrong - invalid))
    remaining = n * (1 - np.asarray(looked_at, np.float64))
    answered = float(ends[-1])
    return np.asarray((np.interp(remaining, ends, wrong) + np.maximum(remaining - answered, 0)) / n)


def work_curve(table: PredictionTable, rows: IntArray) -> WorkCurve:
    """The review curve of these rows by confidence, in random order and, if every usable row has a token probability
    that is not just its confidence, by that."""
    looked_at = np.linspace(0, 1, POINTS)
    left = mistakes_left(count_table(table, rows), looked_at)
    at_random = left[0] * (1 - looked_at)
    usable = rows[table.usable()[rows]]
    probability = table.probability[usable]
    complete = usable.size > 0 and bool(np.isfinite(probability).all())
    by_probability = None
    if complete and (probability != table.confidence[usable]).any():
        counts = count_rows(
            probability.clip(0, 1),
            table.label_right()[usable],
            invalid=table.count(rows) - table.count(usable),
            weight=table.weights(usable),
        )
        by_probability = mistakes_left(counts, looked_at).tolist()
    return WorkCurve(looked_at.tolist(), left.tolist(), at_random.tolist(), by_probability)
