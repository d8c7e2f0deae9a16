"""Three labels seen by two views, one clear and one noisy, with rater votes: learnt in a moment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emocaliber.baselines.training import Training

LABELS = ("angry", "happy", "sad")
QUICK = Training(epochs=15, batch_size=32, learning_rate=0.01, patience=None, validation=0.2)

Arrays = tuple[dict[str, npt.NDArray[np.float64]], npt.NDArray[np.str_], npt.NDArray[np.float64]]


def views_of(rows: int = 150, seed: int = 0) -> Arrays:
    """Views by name, labels, votes of five raters."""
    chance = np.random.default_rng(seed)
    truth = chance.integers(3, size=rows)
    centres = np.eye(3)[truth]
    views = {
        "clear": np.hstack([3 * centres, np.zeros((rows, 1))]) + chance.normal(0, 0.6, (rows, 4)),
        "noisy": centres + chance.normal(0, 1.0, (rows, 3)),
    }
    votes = chance.multinomial(5, (4 * centres + 1) / 7).astype(float)
    votes[np.arange(rows), truth] += 3
    return views, np.array(LABELS)[truth], votes
