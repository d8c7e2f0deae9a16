"""Parts: what is measured on one set of rows, as a statistic of counts of cells.

Three kinds of cell, because what is alike differs: confidences (a few distinct values), labels (pairs of truth and
prediction) and rows (distributions, which are all different). A statistic gives named values: "headline.brier",
"answered.brier", "trusted.<rule>.f1". Not an interval (see figures) and not a choice of rows (see scopes).

    python -m pytest tests/evaluation/test_parts.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from emocaliber.evaluation import calibration, discrimination, proper_scores, selective, smooth, trusted
from emocaliber.evaluation.bootstrap import Statistic
from emocaliber.evaluation.cells import MAX_LEVELS, Cells, cells
from emocaliber.evaluation.classification import f1_scores
from emocaliber.evaluation.scorecard import Settings
from emocaliber.evaluation.tally import BoolArray, FloatArray, IntArray, Tally, dense_codes, ratio

Values = dict[str, FloatArray]

ANSWERED_ONLY = "ece_equal_mass"
"""No headline figure: the bins' edges move when a row refuses, so refusing could improve it."""


@dataclass(frozen=True)
class Part:
    """Rows' cells, `codes` (n,) below `size`, and the statistic of their counts (r, size).

    `exact` holds the values on the sample itself where the cells are of rounded confidences.
    """

    codes: IntArray
    size: int
    statistic: Statistic
    exact: Mapping[str, FloatArray] | None = None


def confidence_values(rows: Tally, settings: Settings) -> Values:
    """Every metric of stated confidences, by its key in metric_names."""
    bins, edges = settings.bins, settings.edges
    parts = proper_scores.corp(rows)
    return {
        "accuracy": proper_scores.accuracy(rows),
        "label_accuracy": proper_scores.label_accuracy(rows),
        "mean_confidence": proper_scores.mean_confidence(rows),
        "ece": calibration.ece(rows, bins=bins, edges=edges),
        "ece_equal_mass": calibration.ece(rows, bins=bins, binning="equal mass"),
        "ece_distinct": calibration.ece(rows, binning="distinct"),
        "mce": calibration.ece(rows, bins=bins, edges=edges, norm="max"),
        "ece_l2_debiased": calibration.debiased_l2(rows, bins=bins, edges=edges),
        "smooth_ece": smooth.smooth_ece(rows),
        "brier": proper_scores.brier(rows),
        "log_score": proper_scores.log_score(rows, clip=settings.log_clip),
        "miscalibration": parts.miscalibration,
        "discrimination": parts.discrimination,
        "uncertainty": parts.uncertainty,
        "brier_skill": proper_scores.brier_skill(rows),
        "auroc": discrimination.auroc(rows),
        "average_precision": discrimination.average_precision(rows),
        "aurc": selective.aurc(rows),
        "excess_aurc": selective.excess_aurc(rows),
        "augrc": selective.augrc(rows),
        "prr": selective.prr(rows),
        "coverage_at_risk": selective.coverage_at_risk(rows, settings.risk),
        "risk_at_coverage": selective.risk_at_coverage(rows, settings.coverage),
    }


def agreement_values(rows: Cells, counts: FloatArray, settings: Settings) -> Values:
    """Agreement of the raters with the label, and the stated confidence against it."""
    tally = rows.agreement_tally(counts)
    return {
        "agreement": ratio(rows.agreement_sum(counts), tally.n),
        "agreement_brier": proper_scores.brier(tally),
        "agreement_ece": calibration.ece(tally, bins=settings.bins, edges=settings.edges),
    }


def trusted_values(rows: Tally, thresholds: Mapping[str, float]) -> Values:
    """Trusted metrics at each rule's threshold, as "<rule>.<metric>"."""
    floor = trusted.floor_f1(proper_scores.label_accuracy(rows))
    values: Values = {}
    for rule, threshold in thresholds.items():
        at = trusted.trusted_at(rows, threshold)
        named = {"coverage": at.coverage, "precision": at.precision, "recall": at.recall, "accuracy": at.accuracy}
        named |= {"f1": at.f1, "floor": floor, "lift": at.f1 - floor}
        values |= {f"{rule}.{name}": value for name, value in named.items()}
    return values


def confidence_part(
    confidence: FloatArray,
    right: BoolArray,
    usable: BoolArray,
    agreement: FloatArray | None,
    *,
    thresholds: Mapping[str, float],
    settings: Settings,
    headline_only: bool,
) -> Part:
    """The metrics of stated confidences on n rows (arrays as in `cells.cells`)."""

    def statistic_of(rows: Cells) -> Statistic:
        def statistic(counts: FloatArray) -> Values:
            tally = rows.tally(counts)
            headline = confidence_values(tally, settings)
            if agreement is not None:
                headline |= agreement_values(rows, counts, settings)
            values = _prefixed("headline", {key: value for key, value in headline.items() if key != ANSWERED_ONLY})
            if headline_only:
                return values
            answered = headline
            if rows.refused:
                kept = counts.copy()
                kept[..., rows.size - rows.refused :] = 0.0
                answered = confidence_values(rows.tally(kept), settings)
                if agreement is not None:
                    answered |= agreement_values(rows, kept, settings)
            trust = trusted_values(tally, thresholds)
            return values | _prefixed("answered", answered) | _prefixed("trusted", trust)

        return statistic

    exact = cells(confidence, right, usable, agreement)
    if exact.values.size <= MAX_LEVELS:
        return Part(exact.codes, exact.size, statistic_of(exact))
    rounded = cells(confidence, right, usable, agreement, levels=MAX_LEVELS)
    sample = np.bincount(exact.codes, minlength=exact.size).astype(np.float64)[None, :]
    return Part(rounded.codes, rounded.size, statistic_of(rounded), statistic_of(exact)(sample))


def label_part(truth: IntArray, predicted: IntArray, usable: BoolArray, labels: int) -> Part:
    """F1 of the labels on n rows. Headline figures take a refused row's label away."""
    width = labels + 1
    pairs, codes = dense_codes((truth * width + predicted + 1) * 2 + usable, 2 * labels * width)
    true, guess, kept = pairs // (2 * width), pairs // 2 % width - 1, pairs % 2 == 1

    def statistic(counts: FloatArray) -> Values:
        headline = f1_scores(true, np.where(kept, guess, -1), counts, labels)
        answered = headline if kept.all() else f1_scores(true[kept], guess[kept], counts[..., kept], labels)
        return {
            "headline.weighted_f1": headline.weighted,
            "headline.macro_f1": headline.macro,
            "answered.weighted_f1": answered.weighted,
            "answered.macro_f1": answered.macro,
        }

    return Part(codes, pairs.size, statistic)


def _prefixed(prefix: str, values: Values) -> Values:
    return {f"{prefix}.{name}": value for name, value in values.items()}
