"""Proper scores of a confidence: Brier, log score, skill, and the CORP decomposition.

A proper score is best only for the true probability, so it sees both miscalibration and lack of information.

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

    The clip bounds one row's cost at -ln(clip), which is what an invalid row costs.
    """
    confidence = np.clip(counts.values, clip, 1 - clip)
    cost = -(counts.hits @ np.log(confidence) + counts.misses @ np.log1p(-confidence))
    return ratio(cost - counts.invalid * np.log(clip), counts.n)


@metric
def brier_skill(counts: Counts) -> FloatArray:
    """1 - Brier / reference, (...). The reference is the Brier score of the constant A for these rows, A(1 - A), with A
    the label accuracy, which leaving out a confidence cannot change."""
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

    Miscalibration is what isotonic recalibration would gain, discrimination what the recalibrated confidence gains
    over a constant. Invalid rows are wrong answers with more confidence than any other.
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

    All replicates go through one regression: each is lifted above the one before, so that no block spans two.
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
