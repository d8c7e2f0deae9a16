"""Does any group differ from the rest? A permutation test of all groups and measures with family-wise error control.

Every group is compared with all other rows by a t statistic. Group labels are permuted, and the observed statistics are
compared with the largest statistic of each permutation (step-down maxT, Westfall & Young 1993). If no group differs,
the probability of flagging any is at most the level, however many are tested. Variances are shrunk towards the overall
variance with a weight of PRIOR units: twenty right answers out of twenty are weak evidence.

    max_t(values, counted, [codes_of_age, codes_of_camera], clusters)[0].p_value
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from emocaliber.evaluation.counts import BoolArray, FloatArray, IntArray

PRIOR = 10.0


@dataclass(frozen=True)
class MaxTResult:
    """The result for one column with G groups and M measures, (G, M) each: the group's mean minus that of the rest, its
    t statistic, and the adjusted p-value, NaN if the group was too small to test. `units` (G,) is the number of
    clusters, or of rows, in each group."""

    difference: FloatArray
    statistic: FloatArray
    p_value: FloatArray
    units: IntArray


@dataclass(frozen=True)
class _Units:
    """The units that are permuted for one column, sorted by their `group` (U,), with their `moments` (6, U, M).

    `blocks` restrict the permutation: each (k, m) array holds k clusters of m rows, whose rows are exchanged within
    clusters and whose clusters are exchanged with each other. Without blocks all units are exchangeable.
    """

    moments: FloatArray
    group: IntArray
    blocks: tuple[IntArray, ...] = ()

    def shuffled(self, rng: np.random.Generator) -> IntArray:
        units = self.group.size
        if not self.blocks:
            return rng.permutation(units)
        place = np.arange(units)
        for block in self.blocks:
            place[block] = rng.permuted(block[rng.permutation(len(block))], axis=1)
        return place


def max_t(
    values: FloatArray,
    counted: BoolArray,
    columns: Sequence[IntArray],
    clusters: IntArray | None = None,
    *,
    minimum: int = 20,
    replicates: int = 999,
    seed: int = 0,
) -> list[MaxTResult]:
    """Test n rows: `values` (n, M) of M measures; `counted` (n, M), the rows that each measure includes; and for each
    column the group of each row, (n,), numbered from 0 without gaps.

    A column that is constant within each of the `clusters` (n,) is permuted over clusters. For other columns, rows are
    permuted within their cluster, and clusters among those of equal size. Groups with fewer than `minimum` units
    (clusters or rows) inside or outside are not tested.
    """
    units = [_units(values, counted, codes, clusters) for codes in columns]
    observed = [_statistics(each, np.arange(each.group.size)) for each in units]
    sizes = [np.bincount(each.group) for each in units]
    large = [(size >= minimum) & (size.sum() - size >= minimum) for size in sizes]
    kept = [np.broadcast_to(mask[:, None], found[1].shape) for mask, found in zip(large, observed, strict=True)]
    flat = np.concatenate([np.abs(found[1])[mask] for found, mask in zip(observed, kept, strict=True)] or [np.empty(0)])
    null = np.empty((replicates, flat.size))
    # With the same seed, columns with the same units are permuted jointly.
    generators = [np.random.default_rng(seed) for _ in units]
    for number in range(replicates if flat.size else 0):
        drawn = [
            np.abs(_statistics(each, each.shuffled(rng))[1])[mask]
            for each, rng, mask in zip(units, generators, kept, strict=True)
        ]
        null[number] = np.concatenate(drawn)
    adjusted = _step_down(flat, null)
    results, first = [], 0
    for (difference, statistic), mask, size in zip(observed, kept, sizes, strict=True):
        p_value = np.full(statistic.shape, np.nan)
        p_value[mask] = adjusted[first : first + int(mask.sum())]
        first += int(mask.sum())
        results.append(MaxTResult(difference, statistic, p_value, size))
    return results


def _units(values: FloatArray, counted: BoolArray, codes: IntArray, clusters: IntArray | None) -> _Units:
    sums, numbers = np.where(counted, values, 0.0), counted.astype(np.float64)
    if clusters is None:
        return _of_groups(sums, numbers, codes)
    _, unit, size = np.unique(clusters, return_inverse=True, return_counts=True)
    group = np.zeros(size.size, np.int64)
    group[unit] = codes
    if (group[unit] == codes).all():
        by_unit = np.zeros((2, size.size, values.shape[1]))
        np.add.at(by_unit[0], unit, sums)
        np.add.at(by_unit[1], unit, numbers)
        return _of_groups(by_unit[0], by_unit[1], group)
    by_cluster = np.argsort(unit[np.argsort(codes, kind="stable")], kind="stable")
    first = np.cumsum(size) - size
    blocks = [by_cluster[first[size == rows][:, None] + np.arange(rows)] for rows in np.unique(size)]
    return replace(_of_groups(sums, numbers, codes), blocks=tuple(blocks))


def _of_groups(sums: FloatArray, numbers: FloatArray, group: IntArray) -> _Units:
    order = np.argsort(group, kind="stable")
    s, n = sums[order], numbers[order]
    return _Units(np.stack((s, n, s**2, s * n, n**2, n > 0)), group[order])


def _statistics(units: _Units, place: IntArray) -> tuple[FloatArray, FloatArray]:
    """Each group's mean minus that of the rest, and its t statistic, (G, M) each, with unit u replaced by place[u]."""
    starts = np.flatnonzero(np.concatenate(([True], np.diff(units.group) > 0)))
    inside = np.add.reduceat(units.moments[:, place], starts, axis=1)
    total = inside.sum(1, keepdims=True)
    outside = total - inside
    with np.errstate(divide="ignore", invalid="ignore"):
        common = _squares(total, total[0] / total[1]) / np.maximum(total[5] - 1, 1)
        difference = inside[0] / inside[1] - outside[0] / outside[1]
        variance = _variance(inside, common) + _variance(outside, common)
        statistic = np.where(variance > 0, difference / np.sqrt(variance), 0.0)
    return difference, np.nan_to_num(statistic)


def _squares(moments: FloatArray, mean: FloatArray) -> FloatArray:
    """The sum over units of (sum - number · mean)²."""
    return np.asarray(np.maximum(moments[2] - 2 * mean * moments[3] + mean**2 * moments[4], 0.0))


def _variance(moments: FloatArray, common: FloatArray) -> FloatArray:
    """The variance of the mean, with the units' squares shrunk towards the overall square, `common`."""
    number, units = moments[1], moments[5]
    squares = (_squares(moments, moments[0] / number) + PRIOR * common) / (units - 1 + PRIOR)
    return np.asarray(units * squares / number**2)


def _step_down(observed: FloatArray, null: FloatArray) -> FloatArray:
    """Westfall & Young's adjusted p-values, (H,), of observed absolute statistics (H,) and permuted ones (R, H)."""
    order = np.argsort(-observed, kind="stable")
    largest = np.maximum.accumulate(null[:, order[::-1]], axis=1)[:, ::-1]
    at_least = (largest >= observed[order] - 1e-9).sum(0)
    adjusted = np.empty(observed.size)
    adjusted[order] = np.maximum.accumulate((1 + at_least) / (1 + len(null)))
    return adjusted
