"""Calibration tests: two binning-free tests of calibration, with p-values from a simulated null distribution.

The null hypothesis is that an answer with confidence c is right with probability c. Both statistics are sums of
correct - confidence, so the null is simulated directly, by drawing correctness with exactly these probabilities. The
tests therefore need no approximation for ties, few distinct values, few rows or confidences of 0 or 1 (for level and
power see eval/results/audit.md). Rows of a cluster are drawn with the dependence estimated from the data.

    from emocaliber.evaluation import calibration_test
    calibration_test(confidence, correct, clusters=image_id).ecce_p
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from emocaliber.evaluation.counts import FloatArray, IntArray, unit_interval
from emocaliber.evaluation.scorecard import CalibrationTest

REPLICATES = 1999
CHUNK = 2_000_000
"""Array elements drawn at a time."""


def calibration_test(
    confidence: ArrayLike,
    correct: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    weight: IntArray | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> CalibrationTest:
    """Test n answers: `confidence` (n,) in [0, 1], `correct` (n,) of 0/1, `clusters` (n,) of names or codes.

    ECCE is the range (maximum minus minimum, with 0 included) of the cumulative difference C(c) = sum of correct -
    confidence over rows with confidence up to c, divided by n: ECCE-R of Arrieta-Ibarra et al. 2022, a Kuiper
    statistic, evaluated at the end of each block of ties. It is sensitive to any miscalibration. Spiegelhalter's Z
    (1986) weights the same differences by 1 - 2c and is sensitive to over- and underconfidence. p-values are two-sided
    and at least 1 / (replicates + 1).

    Without clusters both tests have exactly their nominal level. With clusters, a random share of them ("dependence",
    in [0, 1]) is drawn with one uniform number for all rows of the cluster. That share is estimated from the products
    of differences within clusters, plus its standard error; miscalibration raises the estimate too. `weight` (n,) is
    the number of rows that each row stands for; it cannot be combined with clusters. Raises ValueError as `count_rows`
    does, and if there are no rows.
    """
    values, right = unit_interval(confidence, "confidence"), unit_interval(correct, "correct")
    if values.shape != right.shape or not values.size:
        raise ValueError(
            f"confidence has {values.size} rows, correct has {right.size}; give the same rows, at least one"
        )
    levels, level = np.unique(values, return_inverse=True)
    rows = np.bincount(level, weight, levels.size).astype(np.float64)
    hits = np.bincount(level, right if weight is None else right * weight, levels.size)
    unit = None if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    dependence = 0.0
    if unit is None or int(unit.max()) + 1 == values.size:
        null_hits = rng.binomial(rows.astype(np.int64), levels, size=(replicates, levels.size)).astype(np.float64)
        spread = float(np.sqrt((rows * levels * (1 - levels) * (1 - 2 * levels) ** 2).sum()))
    else:
        dependence = _dependence(values, right, unit)
        null_hits = _clustered(rng, values, level, unit, dependence, replicates)
        spread = float(np.sqrt(np.mean(((null_hits - rows * levels) @ (1 - 2 * levels)) ** 2)))
    null, observed = null_hits - rows * levels, hits - rows * levels
    tilt = float(observed @ (1 - 2 * levels))
    distance = float(_range(observed))
    return CalibrationTest(
        n=round(float(rows.sum())),
        ecce=distance / float(rows.sum()),
        ecce_p=_p_value(_range(null), distance),
        spiegelhalter_z=tilt / spread if spread > 0 else None,
        spiegelhalter_p=_p_value(np.abs(null @ (1 - 2 * levels)), abs(tilt)) if spread > 0 else None,
        dependence=dependence,
    )


def _range(differences: FloatArray) -> FloatArray:
    cumulative = np.cumsum(differences, -1)
    return np.asarray(cumulative.max(-1, initial=0.0) - cumulative.min(-1, initial=0.0))


def _p_value(null: FloatArray, observed: float) -> float:
    at_least = int((null >= observed - 1e-9 * max(1.0, observed)).sum())
    return (1 + at_least) / (1 + null.size)


def _dependence(values: FloatArray, right: FloatArray, unit: IntArray) -> float:
    """The share of clusters to draw with one uniform number, in [0, 1].

    It is the sum of the products of differences of two rows of a cluster, divided by its expectation if all clusters
    were drawn so, which is the sum of min(c, c') - c c'; plus its standard error.
    """
    order = np.lexsort((values, unit))
    value, cluster = values[order], unit[order]
    size = np.bincount(cluster)
    place = np.arange(value.size) - np.repeat(np.cumsum(size) - size, size)
    above = size[cluster] - 1 - place  # rows of the cluster that rank above this one
    most = 2 * np.bincount(cluster, value * above) - np.bincount(cluster, value) ** 2 + np.bincount(cluster, value**2)
    gaps = right - values
    products = np.bincount(unit, gaps) ** 2 - np.bincount(unit, gaps**2)
    if most.sum() <= 0:
        return 0.0
    share = products.sum() / most.sum()
    error = np.sqrt(((products - share * most) ** 2).sum()) / most.sum()
    return float(np.clip(share + error, 0.0, 1.0))


def _clustered(
    rng: np.random.Generator,
    values: FloatArray,
    level: IntArray,
    unit: IntArray,
    dependence: float,
    replicates: int,
) -> FloatArray:
    """Simulated numbers of right answers at each level, (replicates, levels), with dependence within clusters."""
    order = np.argsort(level, kind="stable")
    value, cluster = values[order], unit[order]
    starts = np.flatnonzero(np.concatenate(([True], np.diff(level[order]) > 0)))
    units = int(unit.max()) + 1
    parts = []
    step = max(1, CHUNK // values.size)
    for first in range(0, replicates, step):
        number = min(step, replicates - first)
        together = rng.random((number, units))
        shared = rng.random((number, units)) < dependence
        alone = rng.random((number, values.size))
        uniform = np.where(shared[:, cluster], together[:, cluster], alone)
        parts.append(np.add.reduceat(uniform < value, starts, axis=1, dtype=np.float64))
    return np.concatenate(parts)
