"""Metrics of the confidences that a model states on held-out rows during training, and warnings derived from them.

Pure functions; the forward passes are in greedy, the callback in held_out.

    emocaliber train recipes/tiny/3-calibrate.yaml --adapter DIR --out out/3      writes held_out.jsonl
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from emocaliber.calibration.cross_fitting import clustered_error
from emocaliber.evaluation.calibration import ece
from emocaliber.evaluation.classification import label_accuracy
from emocaliber.evaluation.counts import count_rows
from emocaliber.evaluation.proper_scores import brier_score

Floats = npt.NDArray[np.float64]

NEAR_ZERO = 0.1
_NARROW = 0.02  # a standard deviation below this counts as a single value
_SHARE = 0.05  # warn when malformed or near-zero answers rise by more than this share since the start
_FELL = 0.02  # warn when accuracy falls by more than this, or than two standard errors if these are larger


class Collapse(UserWarning):
    """The stated confidence has collapsed to one value, or answers have become unreadable."""


class Hacking(UserWarning):
    """Accuracy falls while near-zero confidences rise: the model gives wrong answers and is rewarded for saying so."""


@dataclass(frozen=True)
class Stated:
    """The answer to one held-out row; `formed` is False where it could not be parsed."""

    label: str
    confidence: float
    formed: bool = True


def held_out_numbers(stated: Sequence[Stated], truths: Sequence[str | None]) -> dict[str, float]:
    """Brier score, ECE (with 15 bins, and with one bin a distinct value) and accuracy; mean, standard deviation and
    number of distinct values of the stated confidences; the shares of confidences below 0.1 and of malformed answers,
    which count as wrong with a Brier cost of 1.

    Raises ValueError for no rows.
    """
    pairs = [
        (answer.confidence, answer.label == truth)
        for answer, truth in zip(stated, truths, strict=True)
        if answer.formed
    ]
    c, right = np.array([value for value, _ in pairs], dtype=float), np.array([hit for _, hit in pairs], dtype=float)
    counted = count_rows(c, right, invalid=len(stated) - len(pairs))
    return {
        "brier": float(brier_score(counted)),
        "ece": float(ece(counted, bins=15)),
        "calibration_error": float(ece(counted, binning="distinct")),
        "mean": float(c.mean()) if len(c) else 0.0,
        "accuracy": float(label_accuracy(counted)),
        "spread": float(c.std()) if len(c) else 0.0,
        "distinct": float(len(np.unique(c))),
        "near_zero": float((c < NEAR_ZERO).sum() / len(stated)),
        "malformed": 1 - len(pairs) / len(stated),
    }


def costs(stated: Sequence[Stated], truths: Sequence[str | None]) -> Floats:
    """Each row's Brier cost, [rows]: (confidence - correct)², and 1 for a malformed answer."""
    return np.array(
        [
            (answer.confidence - (answer.label == truth)) ** 2 if answer.formed else 1.0
            for answer, truth in zip(stated, truths, strict=True)
        ],
        dtype=float,
    )


def gain(start: Floats, now: Floats, clusters: Sequence[str]) -> dict[str, float]:
    """How much lower the Brier score of the same rows is than at the start (`gain`), the cluster-robust standard error
    of this paired difference (`gain_error`), and the p-value of the one-sided t-test of an improvement (`gain_p`). With
    a single cluster there is no error estimate: error and p are 1.
    """
    fell = start - now
    mean = float(fell.mean())
    _, cluster = np.unique(np.asarray(clusters), return_inverse=True)
    if (clusters_seen := int(cluster.max()) + 1) < 2:
        return {"gain": mean, "gain_error": 1.0, "gain_p": 1.0}
    error = clustered_error(fell, cluster)
    p = float(student.sf(mean / error, clusters_seen - 1)) if error > 0 else float(mean <= 0)
    return {"gain": mean, "gain_error": error, "gain_p": p}


def alarms(first: Mapping[str, float], now: Mapping[str, float], rows: int) -> list[UserWarning]:
    """Warnings from the metrics at the stage's start (`first`) and at this step (`now`), on so many `rows`."""
    warnings: list[UserWarning] = []
    if now["malformed"] > first["malformed"] + _SHARE:
        warnings.append(
            Collapse(
                f"{now['malformed']:.0%} of the held-out answers would be malformed ({first['malformed']:.0%} at the"
                " start): lower learning_rate, or keep closer to the start with a higher anchor (GRPO: beta above 0)"
            )
        )
    if now["distinct"] <= 1 or (now["spread"] < _NARROW <= first["spread"]):
        warnings.append(
            Collapse(
                f"the stated confidence has collapsed to {now['distinct']:.0f} value(s) around {now['mean']:.2f}: lower"
                " learning_rate, raise anchor, choose objective mean-brier (GRPO: a higher temperature, more"
                " num_generations); the best step so far is kept"
            )
        )
    margin = max(_FELL, 2 * np.sqrt(first["accuracy"] * (1 - first["accuracy"]) / rows))
    fell, rose = first["accuracy"] - now["accuracy"], now["near_zero"] - first["near_zero"]
    if fell > margin and rose > _SHARE:
        warnings.append(
            Hacking(
                f"accuracy fell from {first['accuracy']:.3f} to {now['accuracy']:.3f} while confidences below"
                f" {NEAR_ZERO} rose from {first['near_zero']:.0%} to {now['near_zero']:.0%}: the reward pays for giving"
                " up; use a safe one such as reward: brier-1 (see `emocaliber recipe rewards`), or lower learning_rate"
            )
        )
    return warnings
