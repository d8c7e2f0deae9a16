"""Selective prediction: the risk of answering only where confident, against the share that is answered.

Accepted rows are taken from the most confident down; inside a block of ties the number of errors is its expectation
over orders, which is linear, so every area has a closed form. Refused rows are errors at the very top. Not a choice
of threshold (see trusted).

    python -c "from emocaliber.evaluation import selective as s, tally as t; print(s.aurc(t.tally([.8, .3], [1, 0])))"
"""

from __future__ import annotations

import numpy as np

from emocaliber.evaluation.harmonic import harmonic_gap
from emocaliber.evaluation.scorecard import RiskCoverage
from emocaliber.evaluation.tally import FloatArray, Tally, ratio


def aurc(rows: Tally) -> FloatArray:
    """Area under the risk-coverage curve (Geifman & El-Yaniv 2017), (...): mean over k = 1..n of the error rate among
    the k most confident rows. In [0, 1]; NaN without rows."""
    top = rows.from_the_top
    rate = top.wrong / np.maximum(top.counts, 1.0)
    blocks = top.wrong + (top.errors - top.start * rate) * top.harmonic
    return ratio(blocks.sum(-1) + rows.refused, rows.n)


def excess_aurc(rows: Tally) -> FloatArray:
    """AURC above that of the best possible ranking (Geifman, Uziel & El-Yaniv 2019), (...), not negative.

    The best ranking is given as few errors as the answered rows have: a refused row might have been right.
    """
    return aurc(rows) - _best_aurc(rows.misses.sum(-1), rows.n)


def augrc(rows: Tally) -> FloatArray:
    """Area under the generalized risk-coverage curve (Traub et al. 2024), (...): mean over k = 1..n of the errors
    among the k most confident rows, divided by n."""
    top = rows.from_the_top
    blocks = top.counts * top.errors + top.wrong * (top.counts + 1) / 2
    own = rows.refused * (rows.refused + 1) / 2
    return ratio(blocks.sum(-1) + own, rows.n**2)


def prr(rows: Tally) -> FloatArray:
    """Prediction rejection ratio (Malinin et al. 2020, on the risk-coverage curve as in lm-polygraph), (...): the
    share of the area between a random and the best ranking that this ranking recovers. 1 is best, 0 random; NaN where
    every answer is right or every answer is wrong. With refused rows the area is the smaller of those with none and
    with all of them wrong.
    """
    wrong, n = rows.misses.sum(-1), rows.n
    room = [ratio(errors, n) - _best_aurc(errors, n) for errors in (wrong, wrong + rows.refused)]
    return 1 - ratio(excess_aurc(rows), _zero_if_tiny(np.minimum(*room)))


def risk_at_coverage(rows: Tally, coverage: float = 0.8) -> FloatArray:
    """Error rate among the ceil(coverage · n) most confident rows, expected over orders of ties, (...)."""
    top = rows.from_the_top
    accepted = np.ceil(rows.n * coverage - 1e-9)
    inside = np.clip(accepted[..., None] - top.start, 0.0, top.counts)
    errors = (inside * top.wrong / np.maximum(top.counts, 1.0)).sum(-1) + np.minimum(rows.refused, accepted)
    return ratio(errors, accepted)


def coverage_at_risk(rows: Tally, risk: float = 0.1) -> FloatArray:
    """The largest share of rows that a threshold can accept with an error rate of at most `risk`, (...); 0 where none
    can.

    A threshold accepts a whole block of ties or none of it.
    """
    top = rows.from_the_top
    errors, accepted = top.errors + top.wrong, top.start + top.counts
    good = (errors <= risk * accepted + 1e-9) & (top.counts > 0)
    return ratio(np.where(good, accepted, 0.0).max(-1, initial=0.0), rows.n)


def risk_coverage(rows: Tally, points: int = 201) -> RiskCoverage:
    """The curve at about `points` evenly spaced coverages, for a tally without leading axes."""
    n = float(rows.n)
    top, refused = rows.from_the_top, float(rows.refused)
    ends = np.concatenate(([0.0, refused], top.start + top.counts))
    errors = np.concatenate(([0.0, refused], top.errors + top.wrong))
    accepted = np.unique(np.ceil(np.linspace(0, n, points)[1:] - 1e-9))
    return RiskCoverage((accepted / n).tolist(), (np.interp(accepted, ends, errors) / accepted).tolist())


def _best_aurc(errors: FloatArray, n: FloatArray) -> FloatArray:
    """AURC with every error below every right answer."""
    right = n - errors
    return ratio(errors - right * harmonic_gap(right, errors), n)


def _zero_if_tiny(area: FloatArray) -> FloatArray:
    return np.where(np.abs(area) < 1e-12, 0.0, area)
