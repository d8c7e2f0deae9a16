"""Metric families: the metrics that apply to a set of rows, grouped by which rows are equivalent for them.

Rows that a family cannot tell apart form a cell, and a family's metrics are a function of the counts of its cells (see
`cells`), which `intervals` resamples. There is a family each for confidences (`confidence_families`), labels
(`classification`), distributions (`distributional`, `disagreement`), token probabilities (`discrimination`) and
prediction sets. Values are named "headline.brier", "answered.brier", "trusted.<rule>.f1" and so on.

    families = metric_families(table, rows, ["FI-8"], suite, thresholds={}, settings=DEFAULTS)
    families["confidence"].statistic(counts)["headline.ece"]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from emocaliber.core.prediction_table import PredictionTable
from emocaliber.evaluation import classification, disagreement, discrimination, distributional, prediction_sets
from emocaliber.evaluation.cells import MetricFamily
from emocaliber.evaluation.confidence_families import confidence_family, second_panel_family
from emocaliber.evaluation.counts import FloatArray, IntArray
from emocaliber.evaluation.scorecard import Settings
from emocaliber.evaluation.suite import Suite, label_codes


def metric_families(
    table: PredictionTable,
    rows: IntArray,
    tasks: Sequence[str],
    suite: Suite,
    *,
    thresholds: Mapping[str, float],
    settings: Settings,
    headline_only: bool = False,
) -> dict[str, MetricFamily]:
    """The families that apply to these rows of the table, by name. `tasks` are the tasks of the rows.

    `thresholds` are those of the trusted metrics, by rule. `headline_only` omits the answered and trusted values.
    """
    usable, confidence, weight = table.usable()[rows], table.confidence[rows], table.weights(rows)
    truth, predicted = table.truth[rows].astype(np.int64), table.predicted[rows].astype(np.int64)
    second = second_panel_family(table, rows, settings)
    panel = {"second panel": second} if second else {}
    if truth.max() < 0:  # the human reference row has no truth but the second panel
        return panel
    every_vote, agreement = _votes_of_all(table, rows), None
    if every_vote is not None:
        agreement = distributional.agreement(every_vote, table.predicted[rows])
    stated = confidence_family(
        rows, confidence, table.label_right()[rows], usable, agreement,
        thresholds=thresholds, settings=settings, brief=headline_only, weight=weight,
    )  # fmt: skip
    families = {"confidence": stated} | panel
    if truth.min() < truth.max():
        known = len({label for name in tasks for label in suite.tasks[name].labels})
        label = classification.label_family(rows, truth, predicted, usable, len(table.labels), known)
        families["label"] = replace(label, weight=weight)
    families |= _distribution_families(table, rows, tasks, suite, settings)
    if table.sets is not None and table.nominal_coverage is not None and np.isfinite(table.sets[rows]).any():
        families["sets"] = prediction_sets.set_family(
            rows, table.sets[rows], truth, every_vote, table.nominal_coverage[rows], _label_counts(table, rows, suite)
        )
    if table.reasons is not None and (table.reasons[rows] >= 0).any():
        families["reasons"] = prediction_sets.reason_family(rows, table.reasons[rows].astype(np.int64))
    both = usable & np.isfinite(table.probability[rows])
    if both.sum() > 1:
        families["alignment"] = discrimination.alignment_family(
            rows[both], confidence[both], table.probability[rows[both]]
        )
    return families


def _votes_of_all(table: PredictionTable, rows: IntArray) -> FloatArray | None:
    """The votes (rows, labels) if every row has some, else None."""
    if table.votes is None or not (table.votes[rows].sum(-1) > 0).all():
        return None
    return np.asarray(table.votes[rows])


def _distribution_families(
    table: PredictionTable, rows: IntArray, tasks: Sequence[str], suite: Suite, settings: Settings
) -> dict[str, MetricFamily]:
    """The families that compare predicted distributions with the annotators', on the rows that have votes."""
    if table.votes is None or table.distributions is None:
        return {}
    inside = rows[table.votes[rows].sum(-1) > 0]
    if not np.isfinite(table.distributions[inside]).any():
        return {}
    columns, answered = label_codes(table, suite, tasks), table.usable()[inside]
    votes, shares = table.votes[inside][:, columns], table.distributions[inside][:, columns]
    labels = _label_counts(table, inside, suite)
    return {
        "distribution": distributional.distribution_family(
            inside, votes, shares, answered, labels, clip=settings.log_clip
        ),
        "disagreement": disagreement.disagreement_family(inside, votes, shares, answered, labels),
    }


def _label_counts(table: PredictionTable, rows: IntArray, suite: Suite) -> FloatArray:
    """The number of labels of each row's task, (rows,)."""
    counts = np.array([len(suite.tasks[name].labels) for name in table.task.names], np.float64)
    return np.asarray(counts[table.task.codes[rows]])
