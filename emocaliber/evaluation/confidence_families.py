"""The confidence metrics as metric families: against correctness, annotators' vote shares, and a second panel.

family = confidence_family(rows, confidence, right, usable, None, thresholds={}, settings=DEFAULTS, brief=True,
                           weight=None)
family.statistic(counts)["headline.ece"]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from emocaliber.core.prediction_table import PredictionTable
from emocaliber.evaluation import (
    calibration,
    classification,
    discrimination,
    distributional,
    proper_scores,
    selective,
    smooth,
    trusted,
)
from emocaliber.evaluation.cells import MAX_LEVELS, Cells, MetricFamily, Statistic, Values, as_if_calibrated, cells
from emocaliber.evaluation.counts import BoolArray, Counts, FloatArray, IntArray, ratio
from emocaliber.evaluation.scorecard import Settings

ANSWERED_ONLY = "ece_equal_mass"
"""It has no headline value: bin edges move when a row becomes invalid, so omitting a confidence could improve it."""


def confidence_values(counts: Counts, settings: Settings) -> Values:
    """Every confidence metric, by its key in metric_names."""
    parts = proper_scores.corp(counts)
    return _sums_of_gaps(counts, settings) | {
        "miscalibration": parts.miscalibration,
        "accuracy": classification.accuracy(counts),
        "label_accuracy": classification.label_accuracy(counts),
        "mean_confidence": classification.mean_confidence(counts),
        "overconfidence": classification.overconfidence(counts),
        "brier": proper_scores.brier_score(counts),
        "log_score": proper_scores.log_score(counts, clip=settings.log_clip),
        "discrimination": parts.discrimination,
        "uncertainty": parts.uncertainty,
        "brier_skill": proper_scores.brier_skill(counts),
        "auroc": discrimination.auroc(counts),
        "average_precision": discrimination.average_precision(counts),
        "aurc": selective.aurc(counts),
        "excess_aurc": selective.excess_aurc(counts),
        "augrc": selective.augrc(counts),
        "prr": selective.prr(counts),
        "coverage_at_risk": selective.coverage_at_risk(counts, settings.risk),
        "risk_at_coverage": selective.risk_at_coverage(counts, settings.coverage),
    }


def _sums_of_gaps(counts: Counts, settings: Settings) -> Values:
    """The calibration errors among `confidence_values`, except CORP's: those with a positive bias under calibration."""
    bins, edges = settings.bins, settings.edges
    return {
        "ece": calibration.ece(counts, bins=bins, edges=edges),
        "ece_equal_mass": calibration.ece(counts, bins=bins, binning="equal mass"),
        "ece_distinct": calibration.ece(counts, binning="distinct"),
        "mce": calibration.ece(counts, bins=bins, edges=edges, norm="max"),
        "ece_l2_debiased": calibration.debiased_l2(counts, bins=bins, edges=edges),
        "smooth_ece": smooth.smooth_ece(counts),
    }


def _agreement_values(rows: Cells, counts: FloatArray, settings: Settings) -> Values:
    """The annotators' agreement with the predicted label, and the confidence scored against that agreement."""
    shares = rows.agreements(counts)
    return {
        "agreement": ratio(rows.agreement_sum(counts), shares.n),
        "agreement_brier": proper_scores.brier_score(shares),
        "agreement_ece": calibration.ece(shares, bins=settings.bins, edges=settings.edges),
    }


def _trusted_values(counts: Counts, thresholds: Mapping[str, float]) -> Values:
    """Trusted metrics at each rule's threshold, keyed "<rule>.<metric>"."""
    everything = trusted.trust_all_f1(classification.label_accuracy(counts))
    values: Values = {}
    for rule, threshold in thresholds.items():
        at = trusted.trusted_at(counts, threshold)
        named = {"coverage": at.coverage, "precision": at.precision, "recall": at.recall, "accuracy": at.accuracy}
        named |= {"f1": at.f1, "trust_all_f1": everything, "lift": at.f1 - everything}
        values |= {f"{rule}.{name}": value for name, value in named.items()}
    return values


def confidence_family(
    rows: IntArray,
    confidence: FloatArray,
    right: BoolArray,
    usable: BoolArray,
    agreement: FloatArray | None,
    *,
    thresholds: Mapping[str, float],
    settings: Settings,
    brief: bool,
    weight: IntArray | None,
) -> MetricFamily:
    """The confidence metrics of these rows (arrays as in `cells.cells`). `brief` computes the headline values only."""

    def measured(grouped: Cells, counts: FloatArray) -> Values:
        values = confidence_values(grouped.correctness(counts), settings)
        return values if agreement is None else values | _agreement_values(grouped, counts, settings)

    def statistic_of(grouped: Cells) -> Statistic:
        def statistic(counts: FloatArray) -> Values:
            headline = measured(grouped, counts)
            values = _prefixed("headline", {key: value for key, value in headline.items() if key != ANSWERED_ONLY})
            if brief:
                return values
            answered = measured(grouped, grouped.answered(counts)) if grouped.invalid else headline
            trust = _trusted_values(grouped.correctness(counts), thresholds)
            return values | _prefixed("answered", answered) | _prefixed("trusted", trust)

        return statistic

    def errors(correctness: Counts, shares: Counts) -> Values:
        values = _sums_of_gaps(correctness, settings)
        if agreement is not None:
            values["agreement_ece"] = calibration.ece(shares, bins=settings.bins, edges=settings.edges)
        return values

    return _of_cells(rows, confidence, right, usable, agreement, statistic_of, errors, weight)


def second_panel_family(table: PredictionTable, rows: IntArray, settings: Settings) -> MetricFamily | None:
    """The answers scored against a second panel, on the rows where it has a plurality label; None if there are none."""
    if table.second_votes is None:
        return None
    votes = table.second_votes[rows]
    label = distributional.plurality_label(votes)
    has_label = label >= 0
    if not has_label.any():
        return None
    labelled_rows, predicted = rows[has_label], table.predicted[rows[has_label]]
    agreement = distributional.agreement(votes[has_label], predicted)

    def statistic_of(grouped: Cells) -> Statistic:
        def measured(counts: FloatArray) -> Values:
            right = grouped.correctness(counts)
            return {
                "second_panel_accuracy": classification.accuracy(right),
                "second_panel_brier": proper_scores.brier_score(right),
                "second_panel_ece": calibration.ece(right, bins=settings.bins, edges=settings.edges),
            } | {f"second_panel_{name}": v for name, v in _agreement_values(grouped, counts, settings).items()}

        def statistic(counts: FloatArray) -> Values:
            answered = measured(grouped.answered(counts))
            return _prefixed("headline", measured(counts)) | _prefixed("answered", answered)

        return statistic

    def errors(correctness: Counts, shares: Counts) -> Values:
        bins, edges = settings.bins, settings.edges
        return {
            "second_panel_ece": calibration.ece(correctness, bins=bins, edges=edges),
            "second_panel_agreement_ece": calibration.ece(shares, bins=bins, edges=edges),
        }

    right, usable = predicted == label[has_label], table.usable()[labelled_rows]
    return _of_cells(labelled_rows, table.confidence[labelled_rows], right, usable, agreement, statistic_of, errors)


def _of_cells(
    rows: IntArray,
    confidence: FloatArray,
    right: BoolArray,
    usable: BoolArray,
    agreement: FloatArray | None,
    statistic_of: Callable[[Cells], Statistic],
    errors: Callable[[Counts, Counts], Values],
    weight: IntArray | None = None,
) -> MetricFamily:
    """The metric family of `statistic_of` the cells of these rows.

    `errors` are the calibration errors among its values, as a function of correctness counts and agreement counts. If
    there are more than MAX_LEVELS distinct confidences, replicates use rounded ones.
    """

    def null_of(grouped: Cells) -> Statistic:
        right, shares = grouped.correctness(grouped.sample()), grouped.agreements(grouped.sample())

        def measured(counts: FloatArray) -> Values:
            return errors(
                as_if_calibrated(grouped.correctness(counts), right),
                as_if_calibrated(grouped.agreements(counts), shares),
            )

        def statistic(counts: FloatArray) -> Values:
            headline = measured(counts)
            answered = measured(grouped.answered(counts)) if grouped.invalid else headline
            return _prefixed("headline", headline) | _prefixed("answered", answered)

        return statistic

    exact = cells(confidence, right, usable, agreement, weight=weight)
    if exact.values.size <= MAX_LEVELS:
        return MetricFamily(rows, exact.codes, exact.size, statistic_of(exact), null=null_of(exact), weight=weight)
    rounded = cells(confidence, right, usable, agreement, levels=MAX_LEVELS, weight=weight)
    return MetricFamily(
        rows,
        rounded.codes,
        rounded.size,
        statistic_of(rounded),
        exact=statistic_of(exact)(exact.sample()[None, :]),
        null=null_of(rounded),
        weight=weight,
    )


def _prefixed(prefix: str, values: Values) -> Values:
    return {f"{prefix}.{name}": value for name, value in values.items()}
