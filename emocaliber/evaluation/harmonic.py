"""Differences of harmonic numbers: the closed form behind expected ranks inside a block of ties.

Not a general special function: arguments are whole numbers of rows.

    python -c "from emocaliber.evaluation.harmonic import harmonic_gap; print(harmonic_gap(1.0, 2.0))"    # 1/2 + 1/3
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray


def harmonic_gap(start: ArrayLike, size: ArrayLike) -> NDArray[np.float64]:
    """1/(start + 1) + ... + 1/(start + size), elementwise; 0 where size is 0. Both are whole and not negative."""
    first, length = np.broadcast_arrays(np.asarray(start, np.float64), np.asarray(size, np.float64))
    if not (length > 1).any():
        return np.where(length == 1, 1 / (first + 1), 0.0)
    last = (first + length).astype(np.int64)
    table = _harmonic_numbers(1 << int(last.max(initial=0)).bit_length())
    # A single term is exact as it stands; as a difference of two sums near 14 it would lose nine digits.
    return np.where(length == 1, 1 / (first + 1), table[last] - table[first.astype(np.int64)])


@lru_cache(maxsize=1)
def _harmonic_numbers(size: int) -> NDArray[np.float64]:
    """H_0 ... H_size: every figure of a scorecard asks for the same ones."""
    return np.concatenate(([0.0], np.cumsum(1 / np.arange(1, size + 1))))
