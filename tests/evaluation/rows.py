"""Small sets of rows for the tests of evaluation, and metrics computed the slow, obvious way."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, permutations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from emocaliber.evaluation.counts import Counts, FloatArray, count_rows

Metric = Callable[[Counts], FloatArray]

GRID = st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5, 0.55, 0.85, 0.9, 0.95, 1.0])
ROWS = st.lists(st.tuples(GRID, st.booleans()), min_size=1, max_size=24)


def of(rows: list[tuple[float, bool]], invalid: int = 0) -> Counts:
    return count_rows([row[0] for row in rows], [row[1] for row in rows], invalid=invalid)


def tie_free(n: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distinct confidences away from the edges of 10 and 15 bins, over-confident by a little."""
    rng = np.random.default_rng(seed)
    confidence = np.clip(rng.beta(3, 2, size=n), 0.001, 0.999)
    return confidence, (rng.random(n) < confidence**1.4).astype(np.int64)


def over_orders(rows: list[tuple[float, bool]], of_ranking: Callable[[list[bool]], float]) -> float:
    """The mean of a function of the ranking, most confident first, over all orders that respect the confidences."""
    rankings = {
        order for order in permutations(range(len(rows))) if all(rows[a][0] >= rows[b][0] for a, b in pairwise(order))
    }
    return float(np.mean([of_ranking([rows[index][1] for index in order]) for order in rankings]))
