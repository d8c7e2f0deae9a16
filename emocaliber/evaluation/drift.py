"""Drift of one stream against a reference: a test martingale that may be looked at after every row, for ever.

Each new value is ranked among the reference and all values before it, ties at random: while all are exchangeable these
conformal p-values are independent and uniform (Vovk, Gammerman & Shafer 2005). A bettor starts at every block of rows,
with a Dirichlet prior on the bins of the p-values; what he has is a ratio of likelihoods, and the mean of all bettors,
weighted by 1 / (j (j + 1)) for the j-th block, a martingale that begins at 1. It ever reaches 1/α with probability at
most α (Ville), and a change that comes late costs no more than the logarithm of its place.

    stream = DriftStream.of_reference(counts_by_level, edges)
    stream.add(levels, uniforms)
    stream.peak                       # evidence against "nothing has changed"; 20 is p = 0.05 at any time
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import gammaln, logsumexp, rel_entr

from emocaliber.evaluation.counts import FloatArray, IntArray

BLOCK = 50
"""Rows after which another bettor starts, and the wealth is looked at."""
WINDOW = 400
"""Blocks for which a bettor bets: after that he keeps what he has."""
CONCENTRATIONS = (5.0, 50.0, 500.0)
"""Of the Dirichlet priors, a third each: large changes, middle ones, small ones."""
CHUNK = 256


@dataclass
class DriftStream:
    """The state of a stream: `pool` (L,) counts the reference and all rows so far by level; p-values fall into the bins
    of `edges` (K + 1,), from 0 to 1; `blocks` (B, K) are the bins' counts of the last blocks, each BLOCK rows, the last
    one perhaps fewer; `closed` how many blocks came before them, with the wealth `kept` of their bettors."""

    pool: IntArray
    edges: FloatArray
    blocks: list[IntArray] = field(default_factory=list)
    closed: int = 0
    kept: float = 0.0
    rows: int = 0
    peak: float = 1.0
    evidence: list[float] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    looks: list[int] = field(default_factory=list)
    """At each look the evidence, the most likely number of rows before the change, and how many there were in all."""

    @classmethod
    def of_reference(cls, pool: Sequence[int], edges: Sequence[float]) -> DriftStream:
        """A stream before its first row. Raises ValueError where the edges do not ascend from 0 to 1."""
        bounds = np.asarray(edges, np.float64)
        if bounds[0] != 0 or bounds[-1] != 1 or (np.diff(bounds) <= 0).any():
            raise ValueError(f"the edges must ascend from 0 to 1; they are {bounds.tolist()}")
        return cls(np.asarray(pool, np.int64), bounds)

    def add(self, level: IntArray, uniform: FloatArray) -> None:
        """Rows in their order: `level` (m,) indices of the pool, `uniform` (m,) numbers in [0, 1) that break ties."""
        grown = max(int(level.max(initial=-1)) + 1 - self.pool.size, 0)
        self.pool = np.concatenate((self.pool, np.zeros(grown, np.int64)))
        values = conformal_p_values(self.pool, level, uniform)
        bins = np.minimum(np.searchsorted(self.edges, values, side="right") - 1, self.edges.size - 2)
        first = 0
        while first < bins.size:
            room = BLOCK - self.rows % BLOCK
            part = bins[first : first + room]
            counts = np.bincount(part, minlength=self.edges.size - 1)
            if room == BLOCK:
                self.blocks.append(counts)
            else:
                self.blocks[-1] = self.blocks[-1] + counts
            self.rows += part.size
            first += part.size
            self._look()

    def _look(self) -> None:
        """Take stock, and let the oldest bettor rest where there are more than WINDOW."""
        counts, widths = np.cumsum(np.array(self.blocks[::-1]), 0)[::-1], np.diff(self.edges)
        logs = log_likelihood_ratios(counts, widths)
        place = self.closed + 1.0 + np.arange(len(self.blocks))
        wealth = logs - np.log(place * (place + 1))
        total = np.exp(min(float(logsumexp(wealth)), 700.0)) + self.kept + 1 / (place[-1] + 1)
        self.evidence.append(float(total))
        gained = rel_entr(counts, counts.sum(1, keepdims=True) * widths).sum(1)
        self.starts.append(BLOCK * (self.closed + int(np.argmax(gained))))
        self.looks.append(self.rows)
        self.peak = max(self.peak, float(total))
        if len(self.blocks) == WINDOW and self.rows % BLOCK == 0:
            self.kept += float(np.exp(min(wealth[0], 700.0)))
            self.closed += 1
            self.blocks = self.blocks[1:]


def conformal_p_values(pool: IntArray, level: IntArray, uniform: FloatArray) -> FloatArray:
    """The p-value of each row, (m,) in [0, 1], among the `pool` (L,) and the rows before it, which it grows by.

    (values below + uniform · values alike, itself among them) / all: independent and uniform if all are exchangeable.
    """
    parts = []
    for first in range(0, level.size, CHUNK):
        own, chance = level[first : first + CHUNK], uniform[first : first + CHUNK]
        cumulative = np.cumsum(pool)
        before = np.tri(own.size, k=-1, dtype=bool)
        below = cumulative[own] - pool[own] + (before & (own < own[:, None])).sum(1)
        alike = pool[own] + (before & (own == own[:, None])).sum(1) + 1
        parts.append((below + chance * alike) / (cumulative[-1] + np.arange(1, own.size + 1)))
        pool += np.bincount(own, minlength=pool.size)
    return np.concatenate(parts) if parts else np.empty(0)


def log_likelihood_ratios(counts: IntArray, widths: FloatArray) -> FloatArray:
    """The logarithm of what each bettor has, (J,), whose p-values fell into the bins `counts` (J, K) times: the mean
    over CONCENTRATIONS of the Dirichlet–multinomial likelihood, over that of uniform p-values, `widths` (K,)."""
    number = counts.sum(-1)
    uniform = counts @ np.log(widths)
    logs = []
    for concentration in CONCENTRATIONS:
        prior = concentration * widths
        bins = (gammaln(prior + counts) - gammaln(prior)).sum(-1)
        logs.append(gammaln(concentration) - gammaln(concentration + number) + bins - uniform)
    return np.asarray(logsumexp(logs, axis=0) - np.log(len(CONCENTRATIONS)))
