"""Cross-fitting: the gain of a post-hoc map on rows that it was not fitted on, with folds of whole clusters.

A map `helps` when it lowers their Brier score by more than one standard error of the paired difference (the
one-standard-error rule of Breiman et al. 1984, over clusters).

    cross_validate(rows, "confidence", "platt", per_task=True).helps
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from emocaliber.calibration.fit import OWN, Kind, Signal, fit_recalibrator, values_of, with_signal
from emocaliber.calibration.maps import Floats
from emocaliber.calibration.targets import Target, correctness, with_target
from emocaliber.core.predictions import Prediction

FOLDS = 10
"""The number of folds; fewer if there are fewer clusters."""


@dataclass(frozen=True)
class CrossValidated:
    """Brier scores, in [0, 1], of a signal before and after cross-fitted maps, on the same rows; `error` is the
    standard error of the difference. If the signal is not a probability, `before` is that of the confidence.

    With votes as the target it is the expected Brier score of a rater's answer, a(1 - c)² + (1 - a)c² for a share a of
    raters: the squared distance to the share, plus a(1 - a), which no map changes.
    """

    kind: Kind
    before: float
    after: float
    error: float
    signal: Signal = "confidence"

    @property
    def helps(self) -> bool:
        """Whether the gain is more than one standard error."""
        return self.before - self.after > self.error


def cross_validate(
    rows: Sequence[Prediction],
    signal: Signal,
    kind: Kind,
    *,
    per_task: bool,
    against: Signal | None = None,
    target: Target = "label",
) -> CrossValidated:
    """The cross-fitted gain of a map of this kind over the unmapped signal, or over another signal, `against`.

    Raises ValueError if no row has the signal and the target, or if all rows that have them are in one cluster.
    """
    usable = with_target(with_signal(rows, signal), target)
    before = values_of(usable, against or (signal if signal in OWN else "confidence"))
    mapped = cross_fitted(usable, signal, kind, per_task=per_task, target=target)
    return compare_confidences(before, mapped, usable, signal, kind, target)


def compare_confidences(
    before: Floats, mapped: Floats, rows: Sequence[Prediction], signal: Signal, kind: Kind, target: Target = "label"
) -> CrossValidated:
    """The Brier scores of two arrays of confidences [n] for the same rows; a missing confidence counts as 0."""
    right = correctness(rows, target).astype(float)
    first, second = ((np.nan_to_num(values) - right) ** 2 + right * (1 - right) for values in (before, mapped))
    cluster = np.unique([row.cluster for row in rows], return_inverse=True)[1]
    error = clustered_error(second - first, cluster)
    return CrossValidated(kind, float(first.mean()), float(second.mean()), error, signal)


def cross_fitted(
    rows: Sequence[Prediction], signal: Signal, kind: Kind, *, per_task: bool, target: Target = "label"
) -> Floats:
    """Each row's confidence [n] by a map fitted on the folds that do not contain its cluster; NaN if the row lacks the
    signal. The folds are the same for every map of the same rows.

    Raises ValueError if all rows are in one cluster, or if the rows to fit on lack the signal or the target.
    """
    clusters, cluster = np.unique([row.cluster for row in rows], return_inverse=True)
    if len(clusters) < 2:
        raise ValueError("rows of at least two clusters are needed to see whether a map helps")
    fold = (np.random.default_rng(0).permutation(len(clusters)) % FOLDS)[cluster]
    mapped = np.empty(len(rows))
    for held_out in np.unique(fold):
        fitting = [row for row, number in zip(rows, fold, strict=True) if number != held_out]
        inside = np.flatnonzero(fold == held_out)
        fitted = fit_recalibrator(fitting, signal, kind, per_task=per_task, target=target)
        mapped[inside] = fitted.confidences([rows[i] for i in inside])
    return mapped


def clustered_error(differences: Floats, cluster: npt.NDArray[np.intp]) -> float:
    """The cluster-robust standard error of the mean of `differences` [n]."""
    sums = np.bincount(cluster, weights=differences - differences.mean())
    return float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1)) / len(differences))
