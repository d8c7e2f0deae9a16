"""Smooth ECE: calibration error without bins, by a reflected Gaussian kernel whose width is the error itself.

A confidence that moves by a little changes it by a little. The kernel is applied in the cosine domain, where reflection
at 0 and 1 costs nothing.

    from emocaliber.evaluation import smooth_ece
    smooth_ece(confidence, correct)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.fft import dct

from emocaliber.evaluation.counts import Counts, FloatArray, IntArray, metric, ratio

GRID = 200
"""Intervals of the evaluation grid on [0, 1]: confidences on a grid of 0.01 or 0.05 fall on its points exactly."""

TOLERANCE = 1e-5
"""How closely the kernel's width is computed."""
SECANT_STEPS, FEW = 6, 8
Rest = Callable[[IntArray, FloatArray], FloatArray]
"""By how much the errors of some rows exceed these widths."""


@metric
def smooth_ece(counts: Counts) -> FloatArray:
    """smECE of Błasiok & Nakkiran (2024, "Smooth ECE", definition 4): the width s at which smECE_s = s, (...), in [0,
    1].

    smECE_s is the integral over t in [0, 1] of |mean of (confidence - right) K_s(t, confidence)|, with K_s the
    reflected Gaussian. Invalid rows add 1 each at every width. NaN without rows.
    """
    total = counts.n
    with np.errstate(invalid="ignore", divide="ignore"):
        spectrum = _cosines(_on_grid(counts)) / total[..., None]
        worst = counts.invalid / total
    low, high = np.abs(spectrum[..., 0]) + worst, _unsmoothed(counts)
    width = _fixed_point(spectrum.reshape(-1, GRID + 1), worst.ravel(), low.ravel(), high.ravel()).reshape(total.shape)
    return np.where(total > 0, width, np.nan)


@metric
def smooth_ece_at(counts: Counts, width: float) -> FloatArray:
    """smECE_s for one kernel width s, (...)."""
    spectrum = _cosines(_on_grid(counts)) / counts.n[..., None]
    return _smoothed_mass(spectrum, np.full(counts.n.shape, width)) + counts.invalid / counts.n


def _unsmoothed(counts: Counts) -> FloatArray:
    """The limit for a kernel of width 0: the error by distinct value."""
    return ratio(np.abs(counts.rows * counts.values - counts.hits).sum(-1) + counts.invalid, counts.n)


def _fixed_point(spectrum: FloatArray, worst: FloatArray, low: FloatArray, high: FloatArray) -> FloatArray:
    """The width that equals its error, for each of R rows.

    The error falls as the kernel widens: that of a very wide one is a lower bound, of a very narrow one an upper
    bound. Rows of a bootstrap are much alike, so each begins with secant steps from the width of their mean; what these
    do not reach, false position does.
    """

    def rest(rows: IntArray, width: FloatArray) -> FloatArray:
        return _smoothed_mass(spectrum[rows], width) + worst[rows] - width

    width = low.copy()
    open_ = np.flatnonzero(np.isfinite(low))
    if open_.size > FEW:
        mean = spectrum[open_].mean(0, keepdims=True), np.array([worst[open_].mean()])
        start = _false_position(
            lambda _, middle: _smoothed_mass(mean[0], middle) + mean[1] - middle,
            np.zeros(1, np.intp), np.array([low[open_].min()]), np.array([high[open_].max()]), np.zeros(1),
        )  # fmt: skip
        open_ = _secant(rest, open_, low, high, np.full(open_.size, start[0]), width)
    return _false_position(rest, open_, low[open_], high[open_], width)


def _secant(
    rest: Rest, rows: IntArray, low: FloatArray, high: FloatArray, guess: FloatArray, width: FloatArray
) -> IntArray:
    """Write the widths that a few secant steps find; the rows that they do not."""
    guess = np.clip(guess, low[rows], high[rows])
    error, before, error_before = rest(rows, guess), guess, np.full(rows.size, np.nan)
    for _ in range(SECANT_STEPS):
        near = np.abs(error) <= TOLERANCE
        width[rows[near]] = guess[near]
        rows, guess, before = rows[~near], guess[~near], before[~near]
        error, error_before = error[~near], error_before[~near]
        if not rows.size:
            break
        with np.errstate(invalid="ignore", divide="ignore"):
            slope = (error - error_before) / (guess - before)
        slope = np.where(slope < -1, slope, -1.5)  # it falls by more than 1 everywhere
        moved = np.clip(guess - error / slope, low[rows], high[rows])
        before, error_before, guess = guess, error, moved
        error = rest(rows, guess)
    near = np.abs(error) <= TOLERANCE
    width[rows[near]] = guess[near]
    return rows[~near]


def _false_position(rest: Rest, open_: IntArray, low: FloatArray, high: FloatArray, width: FloatArray) -> FloatArray:
    """The widths with those of these rows found between their bounds, by the Illinois variant; a bound where the grid
    puts the width beyond it."""
    above, below = rest(open_, low), rest(open_, high)
    width[open_] = np.where(below >= 0, high, low)
    between = (above > 0) & (below < 0)
    open_, low, high = open_[between], low[between], high[between]
    above, below = above[between], below[between]
    for _ in range(60 if open_.size else 0):
        slope = above - below
        middle = low + (high - low) * np.divide(above, slope, out=np.zeros_like(slope), where=slope > 0)
        width[open_] = middle
        error = rest(open_, middle)
        wide = error > 0
        low, high = np.where(wide, middle, low), np.where(wide, high, middle)
        above, below = np.where(wide, error, above / 2), np.where(wide, below / 2, error)
        left = np.abs(error) > TOLERANCE
        if not left.any():
            break
        open_, low, high, above, below = open_[left], low[left], high[left], above[left], below[left]
    return width


def _on_grid(counts: Counts) -> FloatArray:
    """Confidence minus right answers, shared between the two grid points around each value, (..., GRID + 1)."""
    residual = counts.rows * counts.values - counts.hits
    position = counts.values * GRID
    below = np.minimum(position.astype(np.int64), GRID - 1)
    upper = position - below
    upper[np.isclose(upper, 0.0, atol=1e-9)] = 0.0
    grid = np.zeros((*residual.shape[:-1], GRID + 1))
    starts = np.flatnonzero(np.diff(below, prepend=-1))
    if starts.size:
        grid[..., below[starts]] += np.add.reduceat(residual * (1 - upper), starts, axis=-1)
        grid[..., below[starts] + 1] += np.add.reduceat(residual * upper, starts, axis=-1)
    return grid


def _cosines(grid: FloatArray) -> FloatArray:
    """sum_j grid_j cos(pi m j / GRID) for every m: DCT-I weighs inner points twice."""
    ends = grid.copy()
    ends[..., [0, -1]] *= 2
    return np.asarray(dct(ends, type=1)) / 2


def _smoothed_mass(spectrum: FloatArray, width: FloatArray) -> FloatArray:
    kernel = np.square(width)[..., None] * (-np.square(np.pi * np.arange(GRID + 1)) / 2)
    np.exp(kernel, out=kernel)
    kernel *= spectrum
    smoothed = np.abs(dct(kernel, type=1, overwrite_x=True))
    return np.asarray((smoothed.sum(-1) - (smoothed[..., 0] + smoothed[..., -1]) / 2) / GRID)
