"""Two reasons for doubt, as two numbers and a word: people differ about such a picture, or none like it was seen.

- `doubt_people`: the probability that two raters drawn for this picture name different labels. The model's own
  1 - sum p², mapped monotonically (isotonic regression) to what the votes of calibration rows came to; as it is, where
  they have no votes.
- `doubt_unfamiliar`: the share of calibration pictures that are more like the training pictures, by the Mahalanobis
  distance of features from the training mean (Lee et al. 2018, with one class: labels that people dispute make no
  classes). It is 1 less a conformal p-value (Bates et al. 2023, "Testing for outliers with conformal p-values").
- `reason`: unfamiliar, where that p-value is at most `false_alarms`: of pictures like the calibration rows at most that
  share is called so. Otherwise ambiguous, where doubt about people is above what a share 1 - `false_alarms` of
  calibration pictures with a majority have. Otherwise clear.

They call for different things: an ambiguous picture has several right answers (show the set); an unfamiliar one needs a
person, and what the model says about people there means nothing.

    fitted, notes = fit_doubt(rows, hashes, train_features, calibration_features, false_alarms=0.05)
    fitted.apply(new_rows, new_features)[0].reason
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec.structs import replace

from emocaliber.calibration.conformal import Floats, threshold
from emocaliber.calibration.maps import Isotonic, fit_isotonic
from emocaliber.core.predictions import Prediction, Reason, Share

FORMAT = "emocaliber doubt 1"
FEWEST = 50
"""Calibration rows with votes for a map of the doubt about people."""


class Familiar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Training features of `model`: their `mean` [w] and the `whitening` [w, w] that makes their covariance the unit
    matrix, as float32; and the ascending distances of calibration pictures."""

    model: str
    width: int
    mean: bytes
    whitening: bytes
    distances: tuple[float, ...]

    def distance(self, features: Floats) -> Floats:
        """The Mahalanobis distance [n] of features [n, w]; NaN where they are."""
        mean = np.frombuffer(self.mean, np.float32)
        whitening = np.frombuffer(self.whitening, np.float32).reshape(self.width, self.width)
        return np.asarray(np.sqrt((((features - mean) @ whitening) ** 2).sum(1)), np.float64)

    def p_value(self, features: Floats) -> Floats:
        """The conformal p-value [n] of "like the calibration pictures": their share that is as far, with the new one
        counted; NaN where there are no features."""
        distance, known = self.distance(features), np.array(self.distances)
        farther = known.size - np.searchsorted(known, distance, side="left")
        return np.where(np.isnan(distance), np.nan, (1 + farther) / (1 + known.size))


class DoubtMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Both doubts, fitted. `people` are the points of the monotone map (None: no votes), `ambiguous` the doubt about
    people above which a row is ambiguous; `familiar` is None where no features were given."""

    format: str
    false_alarms: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
    people: tuple[tuple[Share, ...], tuple[Share, ...]] | None
    ambiguous: float
    familiar: Familiar | None
    fitted_on: tuple[str, ...]

    def apply(self, rows: Sequence[Prediction], features: Floats | None = None) -> list[Prediction]:
        """The rows, in order, with their doubts. `features` [n, w] may be NaN for pictures that cannot be read; without
        any, nothing is said about unfamiliar pictures."""
        people = self.people_differ(rows)
        if features is None or self.familiar is None:
            p_values = np.full(len(rows), np.nan)
        else:
            p_values = self.familiar.p_value(features)
        return [
            replace(
                row,
                doubt_people=None if math.isnan(differ) else differ,
                doubt_unfamiliar=None if math.isnan(p) else 1 - p,
                reason=self._reason(differ, p),
            )
            for row, differ, p in zip(rows, people.tolist(), p_values.tolist(), strict=True)
        ]

    def people_differ(self, rows: Sequence[Prediction]) -> Floats:
        """The probability [n] that two raters differ; NaN for a row without a distribution."""
        own = differing(rows)
        return own if self.people is None else np.where(np.isnan(own), np.nan, Isotonic(*self.people)(own))

    def _reason(self, people: float, p_value: float) -> Reason | None:
        if p_value <= self.false_alarms:
            return Reason.UNFAMILIAR
        if math.isnan(people):
            return None
        return Reason.AMBIGUOUS if people > self.ambiguous else Reason.CLEAR


def fit_doubt(
    rows: Sequence[Prediction],
    hashes: Sequence[str],
    train: Floats | None = None,
    calibration: Floats | None = None,
    *,
    model: str = "",
    false_alarms: float = 0.05,
) -> tuple[DoubtMap, list[str]]:
    """Fit on calibration rows with distributions, and notes on what is to be known.

    `train` [m, w] are the features of pictures that the model learned from, `calibration` [n, w] those of the rows, of
    which NaN ones are left out. Raises ValueError where no row has a distribution.
    """
    own = differing(rows)
    if np.isnan(own).all():
        raise ValueError("no row has a distribution to tell doubt from")
    notes: list[str] = []
    voted = np.array([sum((row.votes or {}).values()) > 1 for row in rows]) & ~np.isnan(own)
    people, ambiguous = None, 0.5
    if voted.sum() >= FEWEST:
        fitted = fit_isotonic(own[voted], raters_differ([row for row, has in zip(rows, voted, strict=True) if has]))
        people = fitted.x, fitted.y
        agreed = np.array([_majority(row) for row in rows]) & voted
        if agreed.any():
            ambiguous = threshold(fitted(own[agreed]), np.ones(int(agreed.sum())), 1 - false_alarms)
    else:
        notes.append(
            f"{int(voted.sum())} rows have the votes of two raters, fewer than {FEWEST}: doubt about people is the"
            " model's own, and ambiguous is what it gives more than 0.5"
        )
    familiar = None
    if train is not None and calibration is not None:
        familiar = _familiar(model, train, calibration)
        if (least := 1 / (1 + len(familiar.distances))) > false_alarms:
            notes.append(f"{len(familiar.distances)} pictures cannot give a false alarm rate below {least:.3f}")
    else:
        notes.append("no features were given: nothing is said about unfamiliar pictures")
    fitted_on = tuple(sorted(set(hashes)))
    return DoubtMap(FORMAT, false_alarms, people, float(ambiguous), familiar, fitted_on), notes


def differing(rows: Sequence[Prediction]) -> Floats:
    """1 - sum p² of each row's distribution [n]: how often two draws from it differ; NaN where it has none."""
    values = []
    for row in rows:
        shares = np.array(list((row.distribution or {}).values()))
        total = shares.sum()
        values.append(1 - float(((shares / total) ** 2).sum()) if total > 0 else math.nan)
    return np.array(values, np.float64)


def raters_differ(rows: Sequence[Prediction]) -> Floats:
    """The share [n] of pairs of different raters that name different labels: unbiased however few they are."""
    values = []
    for row in rows:
        votes = np.array(list((row.votes or {}).values()), np.float64)
        n = votes.sum()
        values.append(1 - float((votes * (votes - 1)).sum() / (n * (n - 1))))
    return np.array(values, np.float64)


def _majority(row: Prediction) -> bool:
    """Whether more than half of the raters name one label."""
    votes = list((row.votes or {}).values())
    return bool(votes) and 2 * max(votes) > sum(votes)


def _familiar(model: str, train: Floats, calibration: Floats) -> Familiar:
    """Mean and whitening of the training features, with the covariance shrunk (Ledoit & Wolf 2004)."""
    from sklearn.covariance import LedoitWolf  # heavy: `ask` must not load it

    readable = train[~np.isnan(train).any(1)]
    fitted = LedoitWolf().fit(readable)
    values, vectors = np.linalg.eigh(fitted.covariance_)
    whitening = vectors / np.sqrt(np.maximum(values, 1e-12))
    made = Familiar(
        model,
        readable.shape[1],
        fitted.location_.astype(np.float32).tobytes(),
        whitening.astype(np.float32).tobytes(),
        (),
    )
    distances = made.distance(calibration)
    return replace(made, distances=tuple(sorted(distances[~np.isnan(distances)].tolist())))
