"""Smooth ECE: a binning-free calibration error with a reflected Gaussian kernel whose width equals the error.

It is continuous in the confidences. The kernel is applied in the cosine domain, where reflection at 0 and 1 is free.
Bootstrap replicates are similar, so they share a few kernel widths, each evaluated with one matrix product, and the
width of each replicate is interpolated between those.

    from emocaliber.evaluation import smooth_ece
    smooth_ece(confidence, correct)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct

from emocaliber.evaluation.counts import BoolArray, Counts, FloatArray, IntArray, metric, ratio

GRID = 200
"""Intervals of the evaluation grid on [0, 1]: multiples of 0.01 or 0.05 are grid points."""

TOLERANCE = 1e-5
"""Tolerance of the kernel width."""
FEW = 8
"""Up to this many sets of rows are solved individually; more are taken for replicates of one sample."""
SHARED_WIDTHS = 8
"""Replicates are interpolated between this many widths, with an error of about 1/100 of their standard deviation."""
POINTS = 2.5
"""Grid points per kernel width, for replicates."""
_STEPS = np.array([1, 2, 4, 5, 8, 10, 20])
_WAVES = np.cos(np.pi * np.outer(np.arange(GRID + 1), np.arange(GRID + 1)) / GRID)


@metric
def smooth_ece(counts: Counts) -> FloatArray:
    """smECE of Błasiok & Nakkiran (2024, "Smooth ECE", definition 4): the width s at which smECE_s = s, (...), in [0,
    1].

    smECE_s is the integral over t in [0, 1] of |mean of (confidence - correct) K_s(t, confidence)|, with K_s the
    reflected Gaussian. Each invalid row counts as an error of 1 at every width. NaN without rows.
    """
    total = counts.n
    width = np.full(total.shape, np.nan)
    has_rows = total > 0
    if has_rows.any():
        solve = _width_of_each if total.size <= FEW else _width_of_replicates
        width[has_rows] = solve(_shares(counts, has_rows))
    return width


@metric
def smooth_ece_at(counts: Counts, width: float) -> FloatArray:
    """smECE_s for one kernel width s, (...)."""
    residual = counts.rows * counts.values - counts.hits
    spectrum = _cosines(_on_grid(counts.values, residual)) / counts.n[..., None]
    return _smoothed_mass(spectrum, np.full(counts.n.shape, width)) + counts.invalid / counts.n


@dataclass(frozen=True)
class _Shares:
    """R sets of rows. `residual` (R, K) is the sum of confidence - correct at each of the `values` (K,), divided by the
    number of rows; `worst` (R,) is the share of invalid rows."""

    values: FloatArray
    residual: FloatArray
    worst: FloatArray


def _shares(counts: Counts, selected: BoolArray) -> _Shares:
    total = counts.n[selected]
    residual = (counts.rows * counts.values - counts.hits)[selected] / total[:, None]
    return _Shares(counts.values, residual, counts.invalid[selected] / total)


def _width_of_each(sets: _Shares) -> FloatArray:
    """The width that equals its error, (R,), by the Illinois variant of false position.

    The error decreases with the width: the limit of a very wide kernel is a lower bound, and the error of width 0 (that
    by distinct value) an upper bound. If discretisation puts the solution beyond a bound, the bound is returned.
    """
    spectrum = _cosines(_on_grid(sets.values, sets.residual))

    def rest(rows: IntArray, width: FloatArray) -> FloatArray:
        return _smoothed_mass(spectrum[rows], width) + sets.worst[rows] - width

    low = np.abs(spectrum[:, 0]) + sets.worst
    high = np.abs(sets.residual).sum(-1) + sets.worst
    open_ = np.arange(low.size)
    above, below = rest(open_, low), rest(open_, high)
    width = np.where(below >= 0, high, low)
    open_ = np.flatnonzero((above > 0) & (below < 0))
    low, high, above, below = low[open_], high[open_], above[open_], below[open_]
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


def _width_of_replicates(sets: _Shares) -> FloatArray:
    """The width that equals its error, (R,), for replicates of one sample.

    The solution lies between any width and the error at that width. So the errors at the solution of the mean replicate
    bracket all solutions, and the errors at a few widths in the bracket show where each replicate's error falls below
    the width. The same interpolation is applied to the mean replicate, and its known error is subtracted from all.
    """
    mean = _Shares(sets.values, sets.residual.mean(0, keepdims=True), sets.worst.mean(keepdims=True))
    middle = float(_width_of_each(mean)[0])
    both = _Shares(
        sets.values, np.concatenate((sets.residual, mean.residual)), np.concatenate((sets.worst, mean.worst))
    )
    first = _errors(both, np.array([middle]))[0]
    widths = np.linspace(min(middle, first.min()), max(middle, first.max()), SHARED_WIDTHS)
    rest = _errors(both, widths) - widths[:, None]
    last = np.clip((rest > 0).sum(0) - 1, 0, SHARED_WIDTHS - 2)  # the last width that is smaller than its error
    above, below = np.take_along_axis(rest, np.stack((last, last + 1)), 0)
    fraction = np.clip(np.nan_to_num(ratio(above, above - below)), 0.0, 1.0)
    solved = widths[last] + (widths[1] - widths[0]) * fraction
    return np.asarray(solved[:-1] + (middle - solved[-1]))


def _errors(sets: _Shares, widths: FloatArray) -> FloatArray:
    """smECE_s of every set for ascending widths s, (widths, R). Wider kernels use fewer cosines and grid points."""
    reaches = np.minimum(GRID, 5 / (np.pi * np.maximum(widths, 1e-3))).astype(int) + 1  # those beyond are below e^-12
    steps = _STEPS[np.searchsorted(_STEPS, np.maximum(1.0, GRID * widths / POINTS), side="right") - 1]
    orders = np.arange(reaches[0])
    cosines = np.cos(np.pi * np.outer(sets.values, orders)) * np.where(orders == 0, 1, 2)
    few_values = sets.values.size <= orders.size
    products = sets.residual if few_values else sets.residual @ cosines
    errors = []
    for width, reach, step in zip(widths, reaches, steps, strict=True):
        damped = np.exp(-np.square(np.pi * width * orders[:reach]) / 2)[:, None] * _WAVES[:reach, ::step]
        kernel = cosines[:, :reach] @ damped if few_values else damped
        near = np.abs(kernel).max(0, initial=0.0) > 1e-6  # skip grid points that a narrow kernel does not reach
        weights = np.where(np.arange(near.size) % (near.size - 1) == 0, 0.5, 1.0)[near] * step / GRID
        errors.append(
            np.abs((products if few_values else products[:, :reach]) @ kernel[:, near]) @ weights + sets.worst
        )
    return np.stack(errors)


def _on_grid(values: FloatArray, residual: FloatArray) -> FloatArray:
    """The residual at each value (..., K), split linearly between the two neighbouring grid points, (..., GRID + 1)."""
    position = values * GRID
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
    """sum_j grid_j cos(pi m j / GRID) for every m, from the DCT-I, which gives inner points double weight."""
    ends = grid.copy()
    ends[..., [0, -1]] *= 2
    return np.asarray(dct(ends, type=1)) / 2


def _smoothed_mass(spectrum: FloatArray, width: FloatArray) -> FloatArray:
    kernel = np.square(width)[..., None] * (-np.square(np.pi * np.arange(GRID + 1)) / 2)
    np.exp(kernel, out=kernel)
    kernel *= spectrum
    smoothed = np.abs(dct(kernel, type=1, overwrite_x=True))
    return np.asarray((smoothed.sum(-1) - (smoothed[..., 0] + smoothed[..., -1]) / 2) / GRID)
