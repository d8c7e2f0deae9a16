"""Resampling: bootstrap replicates and the jackknife of counts of cells, by row or by cluster, within strata.

from emocaliber.evaluation.resampling import population
next(population(codes, cells, clusters=clusters).replicates(1000, seed=0))       # (1000, cells)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from emocaliber.evaluation.counts import FloatArray, IntArray

CHUNK = 2_000_000
"""Array elements in memory at a time: replicates are drawn in chunks of about this many."""
JACKKNIFE_GROUPS = 250
"""With more kinds of unit than this, the jackknife leaves out random groups of units instead of single ones."""
MANY_UNITS = 4_000_000
"""With more units than this, each unit is assigned to a jackknife group independently, so that group sizes vary."""


@dataclass(frozen=True)
class Population:
    """The units to resample, by kind (identical units are one kind).

    `multiplicity` (U,) is the number of units of each kind, `stratum` (U,) their stratum (each stratum keeps its number
    of units), and `contents` (U, cells) the rows per cell of one unit; None if kind u is a single row in cell u.
    """

    cells: int
    multiplicity: IntArray
    stratum: IntArray
    contents: csr_array | None

    def counts(self) -> FloatArray:
        """The number of rows in each cell of the sample, (cells,)."""
        return np.asarray(self._rows_of(self.multiplicity[None, :].astype(np.float64))[0])

    def fewest_units(self) -> int:
        """The number of units in the smallest stratum. With one unit, replicates do not vary and there is no
        interval."""
        units = np.bincount(self.stratum, weights=self.multiplicity)
        return int(units[units > 0].min()) if units.any() else 0

    def replicates(self, number: int, seed: int | Sequence[int]) -> Iterator[FloatArray]:
        """`number` bootstrap replicates, in chunks of (r, cells). They do not depend on the order of the rows."""
        rng = np.random.default_rng(seed)
        units = int(self.multiplicity.sum())
        rows = max(1, CHUNK // max(self.cells, min(units, 4 * self.multiplicity.size)))
        for first in range(0, number, rows):
            yield self._rows_of(self._draw(rng, min(rows, number - first)))

    def jackknife(self, seed: int | Sequence[int]) -> tuple[FloatArray, FloatArray]:
        """The sample without one unit, or without one random group of units, (J, cells), and weights (J,)."""
        kinds = np.flatnonzero(self.multiplicity)
        if kinds.size <= JACKKNIFE_GROUPS:
            left_out = np.zeros((kinds.size, self.multiplicity.size))
            left_out[np.arange(kinds.size), kinds] = 1.0
            return self.counts() - self._rows_of(left_out), self.multiplicity[kinds].astype(np.float64)
        rng = np.random.default_rng(seed)
        if self.multiplicity.sum() > MANY_UNITS:
            groups = rng.multinomial(self.multiplicity, np.full(JACKKNIFE_GROUPS, 1 / JACKKNIFE_GROUPS))
            return self.counts() - self._rows_of(groups.T.astype(np.float64)), np.ones(JACKKNIFE_GROUPS)
        unit = rng.permutation(np.repeat(np.arange(self.multiplicity.size), self.multiplicity))
        group = np.arange(unit.size) * JACKKNIFE_GROUPS // unit.size
        flat = np.bincount(
            group * self.multiplicity.size + unit, minlength=JACKKNIFE_GROUPS * self.multiplicity.size
        ).reshape(JACKKNIFE_GROUPS, -1)
        return self.counts() - self._rows_of(flat.astype(np.float64)), np.ones(JACKKNIFE_GROUPS)

    def _draw(self, rng: np.random.Generator, number: int) -> FloatArray:
        drawn = np.zeros((number, self.multiplicity.size))
        for stratum in np.unique(self.stratum):
            kinds = np.flatnonzero(self.stratum == stratum)
            drawn[:, kinds] = _multinomial(rng, self.multiplicity[kinds], number)
        return drawn

    def _rows_of(self, units: FloatArray) -> FloatArray:
        return units if self.contents is None else np.ascontiguousarray((self.contents.T @ units.T).T)


def population(
    codes: IntArray,
    cells: int,
    *,
    clusters: IntArray | None = None,
    strata: IntArray | None = None,
    weight: IntArray | None = None,
) -> Population:
    """The units of n rows with cells `codes` (n,): the rows, or the `clusters` (n,) if given; `weight` (n,) is the
    number of rows that each row stands for.

    `strata` (n,) are drawn separately, unless a cluster spans two: then all strata are drawn as one. Rows of one cell
    must share a stratum.
    """
    level = np.zeros(codes.size, np.int64) if strata is None else strata
    if clusters is None:
        multiplicity = np.bincount(codes, weight, cells).astype(np.int64)
        stratum = np.zeros(cells, np.int64)
        stratum[codes] = level
        return Population(cells, multiplicity, stratum, None)
    _, unit = np.unique(clusters, return_inverse=True)
    units = int(unit.max()) + 1
    contents = csr_array(
        (np.ones(codes.size) if weight is None else weight.astype(np.float64), (unit, codes)), shape=(units, cells)
    )
    order = _canonical(contents)
    first = np.zeros(units, np.int64)
    first[unit] = level
    if (first[unit] != level).any():
        first[:] = 0
    return Population(cells, np.ones(units, np.int64), first[order], contents[order])


def _multinomial(rng: np.random.Generator, multiplicity: IntArray, number: int) -> FloatArray:
    """`number` bootstrap draws of units by kind, (number, kinds)."""
    units, kinds = int(multiplicity.sum()), multiplicity.size
    if 4 * kinds < units:
        return rng.multinomial(units, multiplicity / units, size=number).astype(np.float64)
    unit = rng.integers(0, units, size=(number, units), dtype=np.int32)
    kind = unit if (multiplicity == 1).all() else np.repeat(np.arange(kinds, dtype=np.int32), multiplicity)[unit]
    flat = kind + kinds * np.arange(number, dtype=np.int64)[:, None]
    return np.bincount(flat.ravel(), minlength=number * kinds).reshape(number, kinds).astype(np.float64)


def _canonical(contents: csr_array) -> IntArray:
    """An order of the clusters by their contents, independent of the order of the rows."""
    contents.sum_duplicates()
    bounds = zip(contents.indptr[:-1], contents.indptr[1:], strict=True)
    keys = [(contents.indices[a:b].tobytes(), contents.data[a:b].tobytes()) for a, b in bounds]
    return np.asarray(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
