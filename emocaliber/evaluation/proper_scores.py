"""Proper scores of a stated confidence: Brier, log score, their skill, and the CORP decomposition.

Not a calibration error: a proper score is best only for the true probability, so it sees both miscalibration and lack
of information. Not a score of a whole distribution (see distributional).

    python -c "from emocaliber.evaluation import proper_scores as p, tally as t; print(p.brier(t.tally([.8], [1])))"
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import isotonic_regression

from emocaliber.evaluation.tally import FloatArray, Tally, ratio


def brier(rows: Tally) -> FloatArray:
    """Brier score: mean of (confidence - right)², (...), in [0, 1]. A refused row costs 1."""
    cost = rows.misses @ rows.values**2 + rows.hits @ (1 - rows.values) ** 2
    return ratio(cost + rows.refused, rows.n)


def log_score(rows: Tally, *, clip: float = 0.001) -> FloatArray:
    """Mean negative log-likelihood in nats, (...), with confidences clipped to [clip, 1 - clip].

    The clip bounds one row's cost at -ln(clip), which is what a refused row costs.
    """
    stated = np.clip(rows.values, clip, 1 - clip)
    cost = -(rows.hits @ np.log(stated) + rows.misses @ np.log1p(-stated))
    return ratio(cost - rows.refused * np.log(clip), rows.n)


def brier_skill(rows: Tally, reference: FloatArray | float | None = None) -> FloatArray:
    """1 - Brier / reference, (...). The reference is another Brier score; by default that of the constant A for these
    rows, A(1 - A), with A the label accuracy, which refusing to state a confidence cannot change."""
    accuracy = label_accuracy(rows)
    against = accuracy * (1 - accuracy) if reference is None else np.asarray(reference)
    return 1 - ratio(brier(rows), against)


def accuracy(rows: Tally) -> FloatArray:
    """Share of rows that are right; refused rows are wrong, (...)."""
    return ratio(rows.hits.sum(-1), rows.n)


def label_accuracy(rows: Tally) -> FloatArray:
    """Share of rows whose label is right, whether or not a confidence came with it, (...)."""
    return ratio(rows.hits.sum(-1) + rows.refused_right, rows.n)


def mean_confidence(rows: Tally) -> FloatArray:
    """Mean over the answered rows, (...)."""
    return ratio(rows.counts @ rows.values, rows.answered)


@dataclass(frozen=True)
class Corp:
    """brier = miscalibration - discrimination + uncertainty, each (...) and not negative."""

    miscalibration: FloatArray
    discrimination: FloatArray
    uncertainty: FloatArray


def corp(rows: Tally) -> Corp:
    """CORP decomposition of the Brier score by isotonic regression (Dimitriadis, Gneiting & Jordan 2021).

    Miscalibration is what isotonic recalibration would gain, discrimination what the recalibrated confidence gains
    over a constant. Refused rows are wrong answers stated with more confidence than any other.
    """
    counts = np.concatenate((rows.counts, rows.refused[..., None]), -1)
    hits = np.concatenate((rows.hits, np.zeros_like(rows.refused)[..., None]), -1)
    recalibrated = _recalibrated_cost(counts, hits)
    share = accuracy(rows)
    uncertainty = share * (1 - share)
    best = ratio(recalibrated, rows.n)
    return Corp(brier(rows) - best, uncertainty - best, uncertainty)


def _recalibrated_cost(counts: FloatArray, hits: FloatArray) -> FloatArray:
    """Sum of squared errors after isotonic recalibration, (...): size · share · (1 - share) of each pooled block.

    All replicates go through one regression: each is lifted above the one before, so that no block spans two.
    """
    lead, values = counts.shape[:-1], counts.shape[-1]
    present = np.flatnonzero(counts.ravel() > 0)
    if not present.size:
        return np.zeros(lead)
    sizes, right = counts.ravel()[present], hits.ravel()[present]
    replicate = present // values
    blocks = isotonic_regression(right / sizes + 2.0 * replicate, weights=sizes).blocks[:-1]
    size, share = np.add.reduceat(sizes, blocks), np.add.reduceat(right, blocks)
    share = share / size
    cost = np.bincount(replicate[blocks], weights=size * share * (1 - share), minlength=int(np.prod(lead)))
    return cost.astype(np.float64).reshape(lead)
