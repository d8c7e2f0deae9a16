"""Figures: the values of one scope with their intervals, pooled or as the mean over tasks.

Not a metric and not a choice of rows: it takes the parts of a scope and gives Estimates.

    python -m pytest tests/evaluation/test_figures.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.sparse import csr_array

from emocaliber.evaluation.bootstrap import Replicated, interval, p_value, replicate
from emocaliber.evaluation.parts import Part, Values
from emocaliber.evaluation.resampling import population
from emocaliber.evaluation.scorecard import Difference, Estimate, Settings, estimate
from emocaliber.evaluation.tally import FloatArray, IntArray, dense_codes

Shifted = dict[str, tuple[Replicated, float]]


def estimates(parts: Sequence[Part], clusters: Sequence[IntArray] | None, settings: Settings) -> dict[str, Estimate]:
    """Every value of the parts, averaged over them, with its interval; `clusters` holds each part's, (n,) each."""
    figures = {}
    for name, (figure, exact) in _replicated(parts, clusters, settings).items():
        low, high = interval(figure, kind=settings.interval, level=settings.level)
        shift = exact - figure.value
        figures[name] = estimate(exact, low + shift, high + shift)
    return figures


def differences(
    pairs: Sequence[tuple[Part, Part]], clusters: Sequence[IntArray] | None, settings: Settings
) -> dict[str, Difference]:
    """First minus second of each pair, measured on the same rows in the same order, averaged over the pairs."""
    compared = {}
    for name, (figure, exact) in _replicated([_difference(*pair) for pair in pairs], clusters, settings).items():
        low, high = interval(figure, kind=settings.interval, level=settings.level)
        shift = exact - figure.value
        bounds = estimate(exact, low + shift, high + shift)
        p = estimate(p_value(figure.replicates + shift)).value
        compared[name] = Difference(bounds.value, bounds.low, bounds.high, p)
    return compared


def _replicated(parts: Sequence[Part], clusters: Sequence[IntArray] | None, settings: Settings) -> Shifted:
    """Each value's replicates on the parts' cells, and the exact value."""
    offsets = np.concatenate(([0], np.cumsum([part.size for part in parts])))
    codes = np.concatenate([part.codes + offset for part, offset in zip(parts, offsets, strict=False)])
    strata = np.repeat(np.arange(len(parts)), [part.codes.size for part in parts])
    rows = population(
        codes, int(offsets[-1]), clusters=None if clusters is None else np.concatenate(clusters), strata=strata
    )

    def statistic(counts: FloatArray) -> Values:
        return _mean(
            [
                part.statistic(counts[:, first:last])
                for part, first, last in zip(parts, offsets[:-1], offsets[1:], strict=True)
            ]
        )

    figures = replicate(statistic, rows, replicates=settings.replicates, seed=settings.seed)
    exact = _mean([_exact(part) for part in parts])
    return {name: (figure, float(exact[name][0])) for name, figure in figures.items()}


def _exact(part: Part) -> Mapping[str, FloatArray]:
    if part.exact is not None:
        return part.exact
    return part.statistic(np.bincount(part.codes, minlength=part.size).astype(np.float64)[None, :])


def _mean(values: Sequence[Mapping[str, FloatArray]]) -> Values:
    """The mean over parts of every value that all of them have; undefined where it is undefined for one."""
    if len(values) == 1:
        return dict(values[0])
    shared = [name for name in values[0] if all(name in other for other in values)]
    return {name: np.asarray(sum(one[name] for one in values) / len(values)) for name in shared}


def _difference(first: Part, second: Part) -> Part:
    """A part whose cells are the distinct pairs of cells, and whose values are first minus second."""
    pairs, codes = dense_codes(first.codes * second.size + second.codes, first.size * second.size)
    of_first = _pooling(pairs // second.size, first.size)
    of_second = _pooling(pairs % second.size, second.size)

    def subtract(one: Mapping[str, FloatArray], other: Mapping[str, FloatArray]) -> Values:
        return {name: one[name] - other[name] for name in one if name in other}

    def statistic(counts: FloatArray) -> Values:
        return subtract(first.statistic(of_first(counts)), second.statistic(of_second(counts)))

    rounded = first.exact is not None or second.exact is not None
    return Part(codes, pairs.size, statistic, subtract(_exact(first), _exact(second)) if rounded else None)


def _pooling(cell: IntArray, size: int) -> Callable[[FloatArray], FloatArray]:
    """Counts of pairs (r, pairs) summed into counts of the cells that they belong to, (r, size)."""
    if cell.size == size and (cell == np.arange(size)).all():
        return lambda counts: counts
    matrix = csr_array((np.ones(cell.size), (cell, np.arange(cell.size))), shape=(size, cell.size))
    return lambda counts: np.ascontiguousarray((matrix @ counts.T).T)
