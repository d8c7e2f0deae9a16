"""Inductive Venn-Abers calibration: two isotonic fits per score, with the new row added once as wrong and once as
right.

Vovk, Petej & Fedorova 2015 ("Large-scale probabilistic predictors with and without guarantees of validity"). The two
results p0 <= p1 bracket the probability; the value returned, p1 / (1 - p0 + p1), minimises the regret under log loss.
The map is constant between neighbouring scores of the fit, so it can be stored exactly.

    fit_venn_abers(confidence, correct)(new_confidence)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emocaliber.calibration.maps import Bools, Floats


@dataclass(frozen=True)
class VennAbers:
    """The fitted map: its values `at` [m] the ascending scores `x` [m], and `between` [m + 1] them (below the first, in
    each gap, and above the last)."""

    x: tuple[float, ...]
    at: tuple[float, ...]
    between: tuple[float, ...]

    def __call__(self, values: Floats) -> Floats:
        """Confidences [n] to probabilities [n]."""
        x, at, between = np.array(self.x), np.array(self.at), np.array(self.between)
        place = np.searchsorted(x, values)
        met = (place < len(x)) & (x[np.minimum(place, len(x) - 1)] == values)
        result: Floats = np.where(met, at[np.minimum(place, len(x) - 1)], between[place])
        return result


def fit_venn_abers(confidence: Floats, correct: Bools) -> VennAbers:
    """Fit the map of confidences [n] to correctness [n], with one pass from either side and a merge at each score.

    Raises ValueError if n is 0.
    """
    if len(correct) == 0:
        raise ValueError("a Venn-Abers map needs at least one labelled row")
    x, place = np.unique(confidence, return_inverse=True)
    rows: list[float] = np.bincount(place).tolist()
    right: list[float] = np.bincount(place, weights=correct.astype(float)).tolist()
    below = _blocks(rows, right)
    above = _blocks(rows[::-1], [n - r for n, r in zip(rows[::-1], right[::-1], strict=True)])

    def fit_with(n: int, more: int, outcome: float) -> float:
        """The isotonic fit at an added row with this outcome, just below the n-th score or, with `more` = 1, at it."""
        block = [1.0 + sum(rows[n : n + more]), outcome + sum(right[n : n + more])]
        left, ahead = n - 1, len(rows) - n - more - 1
        while True:
            if left >= 0 and below[left].right * block[0] >= block[1] * below[left].rows:
                block = [block[0] + below[left].rows, block[1] + below[left].right]
                left = below[left].first - 1
            elif ahead >= 0 and (above[ahead].rows - above[ahead].right) * block[0] <= block[1] * above[ahead].rows:
                block = [block[0] + above[ahead].rows, block[1] + above[ahead].rows - above[ahead].right]
                ahead = above[ahead].first - 1
            else:
                return block[1] / block[0]

    def probability_at(n: int, more: int) -> float:
        """The value of the map just below the n-th score or, with `more` = 1, at it."""
        low, high = fit_with(n, more, 0.0), fit_with(n, more, 1.0)
        return high / (1.0 - low + high)

    at, between = [probability_at(n, 1) for n in range(len(x))], [probability_at(n, 0) for n in range(len(x) + 1)]
    return VennAbers(tuple(x.tolist()), tuple(at), tuple(between))


@dataclass(frozen=True)
class _Block:
    """The last block of the isotonic fit of a prefix of the scores: its first score, its rows, and its right
    answers."""

    first: int
    rows: float
    right: float


def _blocks(rows: Sequence[float], right: Sequence[float]) -> list[_Block]:
    """For each prefix of the scores, the last block of its isotonic fit (pool adjacent violators). The block before it
    is the last block of the prefix that ends where it begins."""
    blocks: list[_Block] = []
    for n, (own, good) in enumerate(zip(rows, right, strict=True)):
        block = _Block(n, own, good)
        while block.first and blocks[block.first - 1].right * block.rows >= block.right * blocks[block.first - 1].rows:
            before = blocks[block.first - 1]
            block = _Block(before.first, before.rows + block.rows, before.right + block.right)
        blocks.append(block)
    return blocks
