"""Drift of one stream from a reference: a conformal test martingale, valid under continuous monitoring.

Each new value is ranked among the reference and all earlier values, with ties broken at random. While all values are
exchangeable, these conformal p-values are independent and uniform (Vovk, Gammerman & Shafer 2005). At every block of
rows a new bettor starts, with Dirichlet priors on the bins of the p-values; its wealth is a likelihood ratio. The
average wealth, with weight 1 / (j (j + 1)) for the bettor of the j-th block, is a martingale that starts at 1. It ever
reaches 1/α with probability at most α (Ville's inequality); detecting a late change costs only a factor that is
logarithmic in its position.

    stream = DriftStream.of_reference(counts_by_level, edges)
    stream.add(levels, uniforms)
    stream.peak                       # evidence against "nothing has changed"; 20 means p = 0.05, at any time
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import gammaln, logsumexp, rel_entr

from emocaliber.evaluation.counts import FloatArray, IntArray

BLOCK = 50
"""Rows per block: at the start of each, another bettor starts; at its end the wealth is recorded."""
WINDOW = 400
"""Blocks for which a bettor bets; after that its wealth stays constant."""
CONCENTRATIONS = (5.0, 50.0, 500.0)
"""Concentrations of the Dirichlet priors, with equal weights: for large, medium and small changes."""
CHUNK = 256


@dataclass
class DriftStream:
    """The state of a stream.

    `pool` (L,) counts the reference and all rows so far by level. p-values are binned by `edges` (K + 1,), from 0 to 1.
    `blocks` (B, K) are the bin counts of the most recent blocks of BLOCK rows, the last one possibly incomplete;
    `closed` is the number of earlier blocks, and `kept` the total weighted wealth of their bettors. `peak` is the
    highest evidence so far.
    """

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
    """At each recorded point: the evidence, the most likely number of rows before the change, and the rows so far."""

    @classmethod
    def of_reference(cls, pool: Sequence[int], edges: Sequence[float]) -> DriftStream:
        """A stream without rows. Raises ValueError if the edges do not ascend from 0 to 1."""
        bounds = np.asarray(edges, np.float64)
        if bounds[0] != 0 or bounds[-1] != 1 or (np.diff(bounds) <= 0).any():
            raise ValueError(f"the edges must ascend from 0 to 1; they are {bounds.tolist()}")
        return cls(np.asarray(pool, np.int64), bounds)

    def add(self, level: IntArray, uniform: FloatArray) -> None:
        """Add rows in order: `level` (m,) indices into the pool, `uniform` (m,) numbers in [0, 1) that break ties."""
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
        """Record the evidence, and retire the oldest bettor after WINDOW blocks."""
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
    """The p-value of each row, (m,) in [0, 1], among the `pool` (L,) and the rows before it. Adds the rows to `pool`.

    p = (number of lower values + uniform · number of equal values, itself included) / number of values. The p-values
    are independent and uniform if all values are exchangeable.
    """
    parts = []
    for first in range(0, level.size, CHUNK):
        own, tie_break = level[first : first + CHUNK], uniform[first : first + CHUNK]
        cumulative = np.cumsum(pool)
        before = np.tri(own.size, k=-1, dtype=bool)
        below = cumulative[own] - pool[own] + (before & (own < own[:, None])).sum(1)
        equal = pool[own] + (before & (own == own[:, None])).sum(1) + 1
        parts.append((below + tie_break * equal) / (cumulative[-1] + np.arange(1, own.size + 1)))
        pool += np.bincount(own, minlength=pool.size)
    return np.concatenate(parts) if parts else np.empty(0)


def log_likelihood_ratios(counts: IntArray, widths: FloatArray) -> FloatArray:
    """The log wealth of each bettor, (J,), given how many of its p-values fell into each bin, `counts` (J, K).

    The wealth is the mean over CONCENTRATIONS of the Dirichlet–multinomial likelihood, divided by the likelihood of
    uniform p-values; `widths` (K,) are the bin widths.
    """
    number = counts.sum(-1)
    uniform = counts @ np.log(widths)
    logs = []
    for concentration in CONCENTRATIONS:
        prior = concentration * widths
        bins = (gammaln(prior + counts) - gammaln(prior)).sum(-1)
        logs.append(gammaln(concentration) - gammaln(concentration + number) + bins - uniform)
    return np.asarray(logsumexp(logs, axis=0) - np.log(len(CONCENTRATIONS)))
