"""Selective prediction: the error rate among the most confident answers (risk) against the share answered (coverage).

Rows are accepted from the most confident down. Within a block of ties the number of errors is its expectation over
orders, which is linear, so all areas have closed forms. Invalid rows are errors that rank first.

    from emocaliber.evaluation import aurc
    aurc(confidence, correct)
"""

from __future__ import annotations

import numpy as np

from emocaliber.evaluation.counts import Counts, FloatArray, harmonic_gap, metric, ratio
from emocaliber.evaluation.curves import RiskCoverage


@metric
def aurc(counts: Counts) -> FloatArray:
    """Area under the risk-coverage curve (Geifman & El-Yaniv 2017), (...): mean over k = 1..n of the error rate among
    the k most confident rows. In [0, 1]; NaN without rows."""
    top = counts.tie_blocks
    rate = top.wrong / np.maximum(top.rows, 1.0)
    blocks = top.wrong + (top.errors - top.start * rate) * top.harmonic
    return ratio(blocks.sum(-1) + counts.invalid, counts.n)


@metric
def excess_aurc(counts: Counts) -> FloatArray:
    """AURC minus that of the best possible ranking (Geifman, Uziel & El-Yaniv 2019), (...), not negative.

    The best ranking is computed with the errors of the answered rows only, since an invalid row might have been right.
    """
    return aurc(counts) - _best_aurc(counts.misses.sum(-1), counts.n)


@metric
def augrc(counts: Counts) -> FloatArray:
    """Area under the generalized risk-coverage curve (Traub et al. 2024), (...): mean over k = 1..n of the errors
    among the k most confident rows, divided by n."""
    top = counts.tie_blocks
    blocks = top.rows * top.errors + top.wrong * (top.rows + 1) / 2
    own = counts.invalid * (counts.invalid + 1) / 2
    return ratio(blocks.sum(-1) + own, counts.n**2)


@metric
def prr(counts: Counts) -> FloatArray:
    """Prediction rejection ratio (Malinin et al. 2020, on the risk-coverage curve as in lm-polygraph), (...): the share
    of the area between a random and the best ranking that this ranking recovers. 1 is best, 0 random; NaN where all
    answers are right or all are wrong. With invalid rows, the smaller of two areas is used: with none or all of them
    wrong.
    """
    wrong, n = counts.misses.sum(-1), counts.n
    room = [ratio(errors, n) - _best_aurc(errors, n) for errors in (wrong, wrong + counts.invalid)]
    return 1 - ratio(excess_aurc(counts), _zero_if_tiny(np.minimum(*room)))


@metric
def risk_at_coverage(counts: Counts, coverage: float = 0.8) -> FloatArray:
    """Error rate among the ceil(coverage · n) most confident rows, expected over orders of ties, (...)."""
    top = counts.tie_blocks
    accepted = np.ceil(counts.n * coverage - 1e-9)
    inside = np.clip(accepted[..., None] - top.start, 0.0, top.rows)
    errors = (inside * top.wrong / np.maximum(top.rows, 1.0)).sum(-1) + np.minimum(counts.invalid, accepted)
    return ratio(errors, accepted)


@metric
def coverage_at_risk(counts: Counts, risk: float = 0.1) -> FloatArray:
    """The largest share of rows that a threshold can accept with an error rate of at most `risk`, (...); 0 if none
    can. A threshold accepts a block of ties as a whole or not at all.
    """
    top = counts.tie_blocks
    errors, accepted = top.errors + top.wrong, top.start + top.rows
    good = (errors <= risk * accepted + 1e-9) & (top.rows > 0)
    return ratio(np.where(good, accepted, 0.0).max(-1, initial=0.0), counts.n)


def risk_coverage(counts: Counts, points: int = 201) -> RiskCoverage:
    """The risk-coverage curve at about `points` evenly spaced coverages, for Counts without leading axes."""
    n = float(counts.n)
    top, invalid = counts.tie_blocks, float(counts.invalid)
    ends = np.concatenate(([0.0, invalid], top.start + top.rows))
    errors = np.concatenate(([0.0, invalid], top.errors + top.wrong))
    accepted = np.unique(np.ceil(np.linspace(0, n, points)[1:] - 1e-9))
    return RiskCoverage((accepted / n).tolist(), (np.interp(accepted, ends, errors) / accepted).tolist())


def _best_aurc(errors: FloatArray, n: FloatArray) -> FloatArray:
    """AURC of the ranking in which every right answer precedes every error."""
    right = n - errors
    return ratio(errors - right * harmonic_gap(right, errors), n)


def _zero_if_tiny(area: FloatArray) -> FloatArray:
    return np.where(np.abs(area) < 1e-12, 0.0, area)
