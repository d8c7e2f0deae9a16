"""Bootstrap intervals and p-values from replicates: percentile and BCa, one sample or paired.

Not the drawing of replicates (see resampling). `bootstrap` is the whole of it for two arrays of rows.

    python -m pytest tests/evaluation/test_bootstrap.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import ndtr, ndtri

from emocaliber.evaluation.resampling import Population
from emocaliber.evaluation.tally import FloatArray

Kind = Literal["bca", "percentile"]
Statistic = Callable[[FloatArray], Mapping[str, FloatArray]]
"""Counts of cells (r, cells) to named values, each (r,)."""


@dataclass(frozen=True)
class Replicated:
    """A statistic on the sample, on `replicates` (R,) of it, and on the sample less each unit (`left_out`,
    `weights`)."""

    value: float
    replicates: FloatArray
    left_out: FloatArray
    weights: FloatArray


def replicate(statistic: Statistic, rows: Population, *, replicates: int, seed: int) -> dict[str, Replicated]:
    """Every value of `statistic` with its bootstrap and jackknife replicates."""
    chunks = [statistic(counts) for counts in rows.replicates(replicates, seed)]
    sample = statistic(rows.counts()[None, :])
    counts, weights = rows.jackknife(seed)
    left_out = statistic(counts)
    return {
        name: Replicated(
            float(value[0]), np.concatenate([chunk[name] for chunk in chunks]), np.asarray(left_out[name]), weights
        )
        for name, value in sample.items()
    }


def interval(figure: Replicated, *, kind: Kind = "bca", level: float = 0.95) -> tuple[float, float]:
    """Lower and upper bound at nominal coverage `level`.

    NaN, NaN where the value is undefined or most replicates are; a few undefined replicates (a draw without errors
    has no AUROC) are left out. "bca" is Efron's (1987) bias-corrected and accelerated interval, with the acceleration
    from the jackknife; "percentile" takes the replicates' quantiles.
    """
    drawn = figure.replicates[np.isfinite(figure.replicates)]
    if not np.isfinite(figure.value) or 2 * drawn.size < figure.replicates.size or drawn.size == 0:
        return np.nan, np.nan
    tail = (1 - level) / 2
    shares = np.array([tail, 1 - tail])
    if kind == "bca" and np.ptp(drawn) > 0:
        shares = _bca_shares(figure, drawn, shares)
    low, high = np.quantile(drawn, shares)
    return float(low), float(high)


def p_value(differences: FloatArray) -> float:
    """Two-sided bootstrap p-value of "no difference": twice the smaller share of replicates on one side of 0 (0
    counts on both), with one replicate added, so that it is never 0 (Davison & Hinkley 1997, section 4.4)."""
    drawn = differences[np.isfinite(differences)]
    if 2 * drawn.size < differences.size or drawn.size == 0:
        return np.nan
    smaller = min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    return float(min(1.0, 2 * (smaller + 1) / (drawn.size + 1)))


def _bca_shares(figure: Replicated, drawn: FloatArray, shares: FloatArray) -> FloatArray:
    below = (drawn < figure.value).mean() + (drawn == figure.value).mean() / 2
    # A value outside all replicates has no finite bias correction: half a replicate is taken to lie beyond it.
    bias = ndtri(np.clip(below, 0.5 / drawn.size, 1 - 0.5 / drawn.size))
    z = bias + ndtri(shares)
    return np.asarray(ndtr(bias + z / np.maximum(1 - _acceleration(figure) * z, 1e-3)))


def _acceleration(figure: Replicated) -> float:
    """Skewness of the jackknife influences over 6 (Efron & Tibshirani 1993, equation 14.15)."""
    defined = np.isfinite(figure.left_out)
    values, weights = figure.left_out[defined], figure.weights[defined]
    if values.size < 2:
        return 0.0
    influence = np.average(values, weights=weights) - values
    spread = float(weights @ influence**2)
    return float(weights @ influence**3) / (6 * spread**1.5) if spread > 1e-30 else 0.0
