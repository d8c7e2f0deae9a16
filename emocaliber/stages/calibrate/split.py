"""The slice of the calibration split that stage 3 does not train on: which clusters, by share and seed alone.

Not the watching of it (see held_out). Whoever knows the rows' clusters finds the same slice again, long after the run.

    python -c "from emocaliber.stages.calibrate.split import held_out_clusters; print(held_out_clusters('abcd', .5, 0))"
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def held_out_clusters(clusters: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """`share` (0 to 1) of the distinct clusters, rounded to a whole number of them; their order changes nothing."""
    distinct = sorted(set(clusters))
    chosen = np.random.default_rng(seed).permutation(len(distinct))[: round(share * len(distinct))]
    return frozenset(distinct[i] for i in chosen)
