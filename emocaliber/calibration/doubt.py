"""Two kinds of doubt and the reason that applies: raters disagree about such an image (ambiguous), or the image is
unlike the training images (unfamiliar).

- `doubt_people`: the probability that two raters of this image name different labels. It is the model's 1 - sum p²,
  mapped by isotonic regression to the disagreement of the raters of calibration rows; unmapped without votes.
- `doubt_unfamiliar`: the share of calibration images that are more like the training images, by the Mahalanobis
  distance of features from the training mean (Lee et al. 2018, with one class, since disputed labels do not define
  classes). It is 1 minus a conformal p-value (Bates et al. 2023, "Testing for outliers with conformal p-values").
- `reason`: "unfamiliar" if that p-value is at most `false_alarms`, so that at most this share of images like the
  calibration images is flagged. Else "ambiguous" if `doubt_people` exceeds the 1 - `false_alarms` quantile of the
  calibration images with a majority label. Else "clear".

They call for different responses: an ambiguous image has several right answers (show the prediction set); an unfamiliar
image needs a person, and the model's estimate of disagreement cannot be relied on.

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
"""Calibration rows with votes needed to fit the map of `doubt_people`."""


class Familiar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The training features of `model`: their `mean` [w] and the `whitening` matrix [w, w] that maps their covariance
    to the identity, as float32 bytes; and the `distances` of the calibration images, ascending."""

    model: str
    width: int
    mean: bytes
    whitening: bytes
    distances: tuple[float, ...]

    def distance(self, features: Floats) -> Floats:
        """The Mahalanobis distance [n] of features [n, w]; NaN where features are NaN."""
        mean = np.frombuffer(self.mean, np.float32)
        whitening = np.frombuffer(self.whitening, np.float32).reshape(self.width, self.width)
        return np.asarray(np.sqrt((((features - mean) @ whitening) ** 2).sum(1)), np.float64)

    def p_value(self, features: Floats) -> Floats:
        """The conformal p-value [n] of "like the calibration images": the share of images at least as far away, the new
        one included; NaN where features are NaN."""
        distance, known = self.distance(features), np.array(self.distances)
        farther = known.size - np.searchsorted(known, distance, side="left")
        return np.where(np.isnan(distance), np.nan, (1 + farther) / (1 + known.size))


class DoubtMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Both fitted doubts. `people` are the points of the isotonic map (None: no votes to fit it), `ambiguous` is the
    value of `doubt_people` above which a row is ambiguous, and `familiar` is None if no features were given."""

    format: str
    false_alarms: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
    people: tuple[tuple[Share, ...], tuple[Share, ...]] | None
    ambiguous: float
    familiar: Familiar | None
    fitted_on: tuple[str, ...]

    def apply(self, rows: Sequence[Prediction], features: Floats | None = None) -> list[Prediction]:
        """The rows, in order, with their doubts. `features` [n, w] are NaN for unreadable images; without features
        `doubt_unfamiliar` is None."""
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
        """The probability [n] that two raters disagree; NaN for a row without a distribution."""
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
    """Fit on calibration rows with distributions; also returns notes for the user.

    `train` [m, w] are the features of the training images, `calibration` [n, w] those of the rows; NaN rows are left
    out. Raises ValueError if no row has a distribution.
    """
    own = differing(rows)
    if np.isnan(own).all():
        raise ValueError("no row has a distribution to compute doubt from")
    people, ambiguous, notes = _fit_people(rows, own, false_alarms)
    familiar = None
    if train is not None and calibration is not None:
        familiar = _familiar(model, train, calibration)
        if (least := 1 / (1 + len(familiar.distances))) > false_alarms:
            notes.append(f"{len(familiar.distances)} images cannot attain a false alarm rate below {least:.3f}")
    else:
        notes.append("no features were given: unfamiliar images are not detected")
    fitted_on = tuple(sorted(set(hashes)))
    return DoubtMap(FORMAT, false_alarms, people, float(ambiguous), familiar, fitted_on), notes


def _fit_people(
    rows: Sequence[Prediction], own: Floats, false_alarms: float
) -> tuple[tuple[tuple[float, ...], tuple[float, ...]] | None, float, list[str]]:
    """The points of the isotonic map from the model's `own` doubt [n] to the raters' disagreement (None without enough
    votes), the value of `doubt_people` above which a row is ambiguous, and notes for the user."""
    has_votes = np.array([sum((row.votes or {}).values()) > 1 for row in rows]) & ~np.isnan(own)
    if has_votes.sum() < FEWEST:
        note = (
            f"{int(has_votes.sum())} rows have votes of two raters, fewer than {FEWEST}: doubt_people is the model's"
            " own estimate, and rows where it exceeds 0.5 are called ambiguous"
        )
        return None, 0.5, [note]
    fitted = fit_isotonic(own[has_votes], raters_differ([rows[i] for i in np.flatnonzero(has_votes)]))
    has_majority = np.array([_majority(row) for row in rows]) & has_votes
    if not has_majority.any():
        return (fitted.x, fitted.y), 0.5, []
    limit = threshold(fitted(own[has_majority]), np.ones(int(has_majority.sum())), 1 - false_alarms)
    notes = [
        f"{int(has_majority.sum())} rows with a majority are too few for a false alarm rate of {false_alarms:g}:"
        " no row is called ambiguous"
    ]
    return (fitted.x, fitted.y), min(limit, 1.0), notes if math.isinf(limit) else []  # JSON has no infinity


def differing(rows: Sequence[Prediction]) -> Floats:
    """1 - sum p² of each row's distribution [n], the probability that two draws differ; NaN without a distribution."""
    values = []
    for row in rows:
        shares = np.array(list((row.distribution or {}).values()))
        total = shares.sum()
        values.append(1 - float(((shares / total) ** 2).sum()) if total > 0 else math.nan)
    return np.array(values, np.float64)


def raters_differ(rows: Sequence[Prediction]) -> Floats:
    """The share [n] of pairs of raters that name different labels: an unbiased estimate for any number of raters."""
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
    from sklearn.covariance import LedoitWolf  # slow import, which `ask` must avoid

    readable = train[~np.isnan(train).any(1)]
    fitted = LedoitWolf().fit(readable)
    values, vectors = np.linalg.eigh(fitted.covariance_)
    whitening = vectors / np.sqrt(np.maximum(values, 1e-12))
    unranked = Familiar(
        model,
        readable.shape[1],
        fitted.location_.astype(np.float32).tobytes(),
        whitening.astype(np.float32).tobytes(),
        (),
    )
    distances = unranked.distance(calibration)
    return replace(unranked, distances=tuple(sorted(distances[~np.isnan(distances)].tolist())))
