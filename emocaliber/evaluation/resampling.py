"""Resampling: bootstrap replicates as counts, drawn by row or by cluster, and the jackknife beside them.

Rows that are alike are one cell, so a replicate of eight thousand rows with a hundred stated values is a draw of two
hundred counts. Not an interval (see bootstrap), and blind to what the cells mean.

    python -m pytest tests/evaluation/test_resampling.py
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from emocaliber.evaluation.tally import FloatArray, IntArray

CHUNK = 2_000_000
"""Numbers held at once: replicates are made in chunks of about this many."""

JACKKNIFE_GROUPS = 250
"""With more kinds of unit than this, the jackknife leaves out random groups of units in place of single ones."""


@dataclass(frozen=True)
class Population:
    """The units to draw from: `multiplicity` (U,) how many there are of each kind, `stratum` (U,) which are drawn
    together (each stratum keeps its number of units), `contents` (U, cells) what a unit of that kind holds, None
    where kind u is one row of cell u."""

    cells: int
    multiplicity: IntArray
    stratum: IntArray
    contents: csr_array | None

    def counts(self) -> FloatArray:
        """Rows in each cell, (cells,): the sample itself."""
        return np.asarray(self._held(self.multiplicity[None, :].astype(np.float64))[0])

    def replicates(self, number: int, seed: int) -> Iterator[FloatArray]:
        """`number` bootstrap replicates in chunks of (some, cells). The same for every order of the rows."""
        rng = np.random.default_rng(seed)
        units = int(self.multiplicity.sum())
        rows = max(1, CHUNK // max(self.cells, min(units, 4 * self.multiplicity.size)))
        for first in range(0, number, rows):
            yield self._held(self._drawn(rng, min(rows, number - first)))

    def jackknife(self, seed: int) -> tuple[FloatArray, FloatArray]:
        """The sample with one unit, or one random group of units, left out: (left out, cells) and their weights."""
        kinds = np.flatnonzero(self.multiplicity)
        if kinds.size <= JACKKNIFE_GROUPS:
            left_out = np.zeros((kinds.size, self.multiplicity.size))
            left_out[np.arange(kinds.size), kinds] = 1.0
            return self.counts() - self._held(left_out), self.multiplicity[kinds].astype(np.float64)
        rng = np.random.default_rng(seed)
        unit = rng.permutation(np.repeat(np.arange(self.multiplicity.size), self.multiplicity))
        group = np.arange(unit.size) * JACKKNIFE_GROUPS // unit.size
        flat = np.bincount(
            group * self.multiplicity.size + unit, minlength=JACKKNIFE_GROUPS * self.multiplicity.size
        ).reshape(JACKKNIFE_GROUPS, -1)
        return self.counts() - self._held(flat.astype(np.float64)), np.ones(JACKKNIFE_GROUPS)

    def _drawn(self, rng: np.random.Generator, number: int) -> FloatArray:
        drawn = np.zeros((number, self.multiplicity.size))
        for stratum in np.unique(self.stratum):
            kinds = np.flatnonzero(self.stratum == stratum)
            drawn[:, kinds] = _draw(rng, self.multiplicity[kinds], number)
        return drawn

    def _held(self, units: FloatArray) -> FloatArray:
        return units if self.contents is None else np.ascontiguousarray((self.contents.T @ units.T).T)


def population(
    codes: IntArray, cells: int, *, clusters: IntArray | None = None, strata: IntArray | None = None
) -> Population:
    """Units of the rows whose cells are `codes` (n,): rows, or `clusters` (n,) of them.

    `strata` (n,) are drawn separately, unless a cluster lies in two: then all are drawn together, and the overlap
    counts. Rows of one cell must share a stratum.
    """
    level = np.zeros(codes.size, np.int64) if strata is None else strata
    if clusters is None:
        multiplicity = np.bincount(codes, minlength=cells)
        stratum = np.zeros(cells, np.int64)
        stratum[codes] = level
        return Population(cells, multiplicity, stratum, None)
    _, unit = np.unique(clusters, return_inverse=True)
    units = int(unit.max()) + 1
    contents = csr_array((np.ones(codes.size), (unit, codes)), shape=(units, cells))
    order = _canonical(contents)
    first = np.zeros(units, np.int64)
    first[unit] = level
    if (first[unit] != level).any():
        first[:] = 0
    return Population(cells, np.ones(units, np.int64), first[order], contents[order])


def _draw(rng: np.random.Generator, multiplicity: IntArray, number: int) -> FloatArray:
    """`number` multinomial draws of as many units as there are, (number, kinds)."""
    units, kinds = int(multiplicity.sum()), multiplicity.size
    if 4 * kinds < units:
        return rng.multinomial(units, multiplicity / units, size=number).astype(np.float64)
    unit = rng.integers(0, units, size=(number, units), dtype=np.int32)
    kind = unit if (multiplicity == 1).all() else np.repeat(np.arange(kinds, dtype=np.int32), multiplicity)[unit]
    flat = kind + kinds * np.arange(number, dtype=np.int64)[:, None]
    return np.bincount(flat.ravel(), minlength=number * kinds).reshape(number, kinds).astype(np.float64)


def _canonical(contents: csr_array) -> IntArray:
    """An order of the clusters that depends on what they hold and not on where their rows stood."""
    contents.sum_duplicates()
    bounds = zip(contents.indptr[:-1], contents.indptr[1:], strict=True)
    keys = [(contents.indices[a:b].tobytes(), contents.data[a:b].tobytes()) for a, b in bounds]
    return np.asarray(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
