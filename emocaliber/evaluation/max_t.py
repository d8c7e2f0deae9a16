"""Does any group differ from the rest? One permutation test of all groups and measures, with family-wise control.

Every group is compared with all other rows by a t statistic; group labels are permuted, and what is compared with the
observed statistics is the largest of each permutation (Westfall & Young 1993, step-down maxT). So the chance of naming
any group is at most the level where no group differs, however many were looked at. The variances are those of each
side, drawn towards the common one by PRIOR units: a group of twenty in which all are right is no proof.

    max_t(values, counted, [codes_of_age, codes_of_camera], clusters).p_values
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from emocaliber.evaluation.counts import BoolArray, FloatArray, IntArray

PRIOR = 10.0


@dataclass(frozen=True)
class Tested:
    """Of one column's G groups and M measures, each (G, M): the mean less that of the rest, its statistic, and the
    adjusted p-value, NaN where a group was too small to test. `units` (G,) are its clusters, or rows."""

    difference: FloatArray
    statistic: FloatArray
    p_value: FloatArray
    units: IntArray


@dataclass(frozen=True)
class _Units:
    """What is permuted of one column: the moments (6, U, M) of units in order of their group (U,). `blocks` are the
    units that may change places, (k clusters, m rows) each; none where all may."""

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
) -> list[Tested]:
    """Test n rows: `values` (n, M) of M measures, `counted` (n, M) which rows each measure has, and of each column the
    group of each row, (n,) from 0, no number left out.

    A column that is the same within each of the `clusters` (n,) is permuted over clusters. Of another, rows change
    places within their cluster, and clusters with others of as many rows. Groups with fewer than `minimum` units
    (clusters or rows), or with fewer outside, are not tested.
    """
    units = [_units(values, counted, codes, clusters) for codes in columns]
    observed = [_statistics(each, np.arange(each.group.size)) for each in units]
    sizes = [np.bincount(each.group) for each in units]
    large = [(size >= minimum) & (size.sum() - size >= minimum) for size in sizes]
    kept = [np.broadcast_to(mask[:, None], found[1].shape) for mask, found in zip(large, observed, strict=True)]
    flat = np.concatenate([np.abs(found[1])[mask] for found, mask in zip(observed, kept, strict=True)] or [np.empty(0)])
    null = np.empty((replicates, flat.size))
    generators = [np.random.default_rng(seed) for _ in units]  # one seed: columns of the same units move together
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
        results.append(Tested(difference, statistic, p_value, size))
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
    """Each group's mean less that of the rest, and its t statistic, (G, M) each, with unit place[u] in place of u."""
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
    """Of the mean, from the squares of its units drawn towards the `common` square of a unit."""
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
