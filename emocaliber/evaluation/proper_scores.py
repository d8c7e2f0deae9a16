"""Proper scores of a confidence: Brier score, log score, Brier skill, and the CORP decomposition.

The expectation of a proper score is optimised by the true probability, so it reflects both miscalibration and lack of
discrimination.

    from emocaliber.evaluation import brier_score
    brier_score(confidence, correct)        # mean of (confidence - correct)²
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emocaliber.evaluation.classification import accuracy, label_accuracy
from emocaliber.evaluation.counts import Counts, FloatArray, metric, ratio


@metric
def brier_score(counts: Counts) -> FloatArray:
    """Brier score: mean of (confidence - correct)², (...), in [0, 1]. An invalid row costs 1."""
    cost = counts.misses @ counts.values**2 + counts.hits @ (1 - counts.values) ** 2
    return ratio(cost + counts.invalid, counts.n)


@metric
def log_score(counts: Counts, *, clip: float = 0.001) -> FloatArray:
    """Mean negative log-likelihood in nats, (...), with confidences clipped to [clip, 1 - clip].

    Clipping bounds the cost of a row at -ln(clip), which is the cost of an invalid row.
    """
    confidence = np.clip(counts.values, clip, 1 - clip)
    cost = -(counts.hits @ np.log(confidence) + counts.misses @ np.log1p(-confidence))
    return ratio(cost - counts.invalid * np.log(clip), counts.n)


@metric
def brier_skill(counts: Counts) -> FloatArray:
    """1 - Brier / reference, (...). The reference is A(1 - A), the Brier score of the constant confidence A, where A is
    the label accuracy, which omitting a confidence cannot change."""
    share = label_accuracy(counts)
    return 1 - ratio(brier_score(counts), share * (1 - share))


@dataclass(frozen=True)
class Corp:
    """brier = miscalibration - discrimination + uncertainty, each (...) and not negative."""

    miscalibration: FloatArray
    discrimination: FloatArray
    uncertainty: FloatArray


def corp(counts: Counts) -> Corp:
    """CORP decomposition of the Brier score by isotonic regression (Dimitriadis, Gneiting & Jordan 2021).

    Miscalibration is the gain of isotonic recalibration, discrimination the further gain of the recalibrated confidence
    over a constant. Invalid rows count as wrong answers with the highest confidence.
    """
    rows = np.concatenate((counts.rows, counts.invalid[..., None]), -1)
    hits = np.concatenate((counts.hits, np.zeros_like(counts.invalid)[..., None]), -1)
    recalibrated = _recalibrated_cost(rows, hits)
    share = accuracy(counts)
    uncertainty = share * (1 - share)
    best = ratio(recalibrated, counts.n)
    return Corp(brier_score(counts) - best, uncertainty - best, uncertainty)


def _recalibrated_cost(rows: FloatArray, hits: FloatArray) -> FloatArray:
    """Sum of squared errors after isotonic recalibration, (...): size · share · (1 - share) of each pooled block.

    All replicates are fitted in one regression, each shifted above the previous one so that no block spans two.
    """
    from scipy.optimize import isotonic_regression

    lead, values = rows.shape[:-1], rows.shape[-1]
    present = np.flatnonzero(rows.ravel() > 0)
    if not present.size:
        return np.zeros(lead)
    sizes, right = rows.ravel()[present], hits.ravel()[present]
    replicate = present // values
    blocks = isotonic_regression(right / sizes + 2.0 * replicate, weights=sizes).blocks[:-1]
    size, share = np.add.reduceat(sizes, blocks), np.add.reduceat(right, blocks)
    share = share / size
    cost = np.bincount(replicate[blocks], weights=size * share * (1 - share), minlength=int(np.prod(lead)))
    return cost.astype(np.float64).reshape(lead)
