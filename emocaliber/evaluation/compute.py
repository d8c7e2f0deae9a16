"""Computing a scorecard: the loops over methods, subsets of rows and metric families.

rows -> PredictionTable -> suite -> a panel of each method and its references -> subsets -> intervals -> Scorecard

card = build_scorecard({"model": rows}, calibration={"model": calibration_rows})
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Literal

import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.core.prediction_table import SOURCES, STATES, PredictionTable
from emocaliber.core.predictions import Prediction
from emocaliber.evaluation import trusted
from emocaliber.evaluation.calibration import classwise_ece, histogram, reliability_curve
from emocaliber.evaluation.calibration_tests import calibration_test
from emocaliber.evaluation.counts import FloatArray, IntArray, count_table
from emocaliber.evaluation.curves import Curves
from emocaliber.evaluation.distributional import distribution, plurality_label
from emocaliber.evaluation.panel import Panel, compare, compare_within, thresholds
from emocaliber.evaluation.reference_methods import distinct, human_rows, references
from emocaliber.evaluation.scorecard import (
    CalibrationTest,
    Cost,
    Estimate,
    MethodScores,
    PublishedFigure,
    Scorecard,
    Scores,
    Settings,
    Trusted,
    estimate,
)
from emocaliber.evaluation.selective import risk_coverage
from emocaliber.evaluation.subsets import MethodRows, Subset, subsets
from emocaliber.evaluation.suite import Suite, complete, conform, label_codes, suite_of
from emocaliber.evaluation.work_saved import work_curve

DEFAULTS = Settings(
    bins=10,
    edges="right",
    log_clip=0.001,
    risk=0.1,
    coverage=0.8,
    interval="bca",
    level=0.95,
    replicates=1000,
    unit="row",
    seed=0,
)

Rows = PredictionTable | Iterable[Prediction]


def build_scorecard(
    methods: Mapping[str, Rows],
    *,
    suite: Suite | None = None,
    calibration: Mapping[str, Rows] | None = None,
    published: Sequence[PublishedFigure] = (),
    settings: Settings = DEFAULTS,
    subject: str | None = None,
    threshold_on_test: bool = False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Scorecard:
    """Score the rows of each method; `methods` maps a method's name to its rows.

    `calibration` holds, by the same names, rows that no method was trained on. The trusted thresholds, the constant and
    the isotonic reference are fitted on them. Without them, trusted thresholds are chosen on the test rows if
    `threshold_on_test` is set (and marked so), or not at all. If `subject` is given, only that method gets reference
    methods and is compared with every other; else every method gets its own and all pairs are compared.
    `settings.unit` is overridden by the rows: it is "cluster" if any cluster has two rows; a row with an empty cluster
    is its own cluster. Raises UserError if rows contradict the suite or each other, or if all rows of a method are in
    one cluster.
    """
    tables = {name: _table(name, rows) for name, rows in methods.items()}
    if not tables:
        raise UserError("no method to score: give at least one file of predictions")
    calibration_tables = {name: _table(name, rows) for name, rows in (calibration or {}).items()}
    all_tables = [*tables.values(), *calibration_tables.values()]
    is_declared = suite is not None
    suite = suite_of(all_tables) if suite is None else complete(suite, all_tables)
    own = [
        MethodRows(conform(table, suite), calibration_tables.get(name), threshold_on_test=threshold_on_test)
        for name, table in tables.items()
    ]
    for method in own:
        _require_clusters(method)
    settings = replace(settings, unit="cluster" if any(method.clustered for method in own) else "row")
    subjects = [method for method in own if subject in (None, method.table.method)]
    panels = [Panel([method, *(references(method) if method in subjects else ())], suite, settings) for method in own]
    human_panels = [Panel([method], suite, settings) for method in human_rows(subjects)]
    scores = _score_panels(panels, human_panels, on_progress)
    comparisons = []
    for first, second in combinations(own, 2):
        if first in subjects or second in subjects:
            on_progress(f"comparing {first.table.method} with {second.table.method}")
            comparisons += compare(first, second, suite, settings)
    for panel in panels:
        for number in range(1, len(panel.methods)):
            comparisons += compare_within(panel, 0, number)
    notes = _notes(own, suite, declared=is_declared) + _notes_on_intervals(scores)
    return Scorecard(
        suite.name, list(suite.tasks), list(suite.groups), settings, scores, comparisons, list(published), notes
    )


def _score_panels(
    panels: Sequence[Panel], human_panels: Sequence[Panel], on_progress: Callable[[str], None]
) -> list[MethodScores]:
    """The scores of each panel's first method, then of the references, each distinct one once, then of people."""
    scored_references = distinct(reference for panel in panels for reference in panel.methods[1:])
    methods = [(panel, 0) for panel in panels]
    methods += [
        (panel, number)
        for panel in panels
        for number, method in enumerate(panel.methods)
        if number and any(method is reference for reference in scored_references)
    ]
    scores = []
    for panel, number in [*methods, *((panel, 0) for panel in human_panels)]:
        on_progress(f"scoring {panel.methods[number].table.method}")
        scores.append(_method_scores(panel, number))
    return scores


def _table(name: str, rows: Rows) -> PredictionTable:
    table = rows if isinstance(rows, PredictionTable) else PredictionTable.from_predictions(rows)
    return replace(table, method=name)


def _require_clusters(method: MethodRows) -> None:
    rows = len(method.table)
    if rows > 1 and np.unique(method.table.cluster).size == 1:
        raise UserError(
            f"method {method.table.method!r}: all {rows:,} rows are in one cluster, so nothing can be resampled and"
            " there are no intervals; leave 'cluster' empty if rows are independent, or name which rows belong together"
        )


def _notes(methods: Sequence[MethodRows], suite: Suite, *, declared: bool) -> list[str]:
    """Caveats that a reader must know before relying on a value."""
    notes = []
    for method in methods:
        name, table = method.table.method, method.table
        if method.calibration is None and method.threshold_on_test:
            notes.append(f"{name}: trusted thresholds were chosen on the test rows, which flatters them")
        elif method.calibration is None:
            notes.append(f"{name}: no calibration rows, so no trusted threshold and no isotonic reference")
        if invalid := table.count(~table.usable()):
            total = table.count(np.arange(len(table)))
            notes.append(f"{name}: {invalid} of {total} answers unusable; headline values count them as wrong")
        if table.second_votes is not None:
            judged = int((plurality_label(table.second_votes) >= 0).sum())
            notes.append(f"{name}: scored against a second panel on the {judged:,} rows where no tie leads its votes")
        for task, spec in suite.tasks.items() if declared else ():
            rows = table.count(table.task.codes == table.task.code(task))
            if spec.rows is not None and rows != spec.rows:
                notes.append(f"{name}: task {task} has {rows} rows, but {spec.rows} in the suite")
    return notes


def _notes_on_intervals(methods: Sequence[MethodScores]) -> list[str]:
    notes = []
    for method in methods:
        single = [f"{scores.kind} {scores.name!r}" for scores in method.scores if scores.n_clusters == 1]
        if single and method.role == "method":
            notes.append(f"{method.name}: no interval for {', '.join(single)}: all of its rows are one cluster")
    return notes


def _method_scores(panel: Panel, number: int) -> MethodScores:
    """The scores of one method on every subset."""
    method = panel.methods[number]
    table = method.table
    return MethodScores(
        table.method,
        method.role,
        method.note,
        [SOURCES[code].value for code in np.unique(table.sources)],
        int(np.unique(table.confidence[table.usable()]).size),
        [_scores(panel, number, subset) for subset in subsets(table, panel.suite)],
        method.oracle,
        _calibration_test(method, panel.settings),
        _cost(table) if method.role == "method" else None,
    )


def _cost(table: PredictionTable) -> Cost | None:
    if table.costs is None:
        return None
    questions, tokens = (own[np.isfinite(own)] for own in table.costs.T)
    return Cost(*(float(own.mean()) if own.size else None for own in (questions, tokens)))


def _calibration_test(method: MethodRows, settings: Settings) -> CalibrationTest | None:
    """The calibration test over all usable rows with a truth; None if it cannot be computed."""
    table = method.table
    usable = np.flatnonzero(table.usable() & (table.truth >= 0))
    clusters = table.cluster[usable] if method.clustered else None
    weight = table.weights(usable)
    if method.oracle or not usable.size or (weight is not None and clusters is not None):
        return None
    right = table.label_right()[usable]
    return calibration_test(table.confidence[usable], right, clusters, weight=weight, seed=settings.seed)


def _scores(panel: Panel, number: int, subset: Subset) -> Scores:
    method, suite, settings = panel.methods[number], panel.suite, panel.settings
    table, rows, pooled = method.table, subset.rows, subset.aggregation == "pooled"
    values = panel.estimates(number, subset) | _classwise(table, subset, suite, settings)
    states = np.bincount(table.states[rows], table.weights(rows), len(STATES))
    chosen_on: Literal["test", "calibration"] = "test" if method.calibration is None else "calibration"
    has_truth = bool((table.truth[rows] >= 0).any())
    return Scores(
        subset.kind,
        subset.name,
        subset.aggregation,
        subset.tasks,
        table.count(rows),
        table.count(rows[table.usable()[rows]]),
        int(np.unique(table.cluster[rows]).size) if method.clustered else table.count(rows),
        {state.value: int(count) for state, count in zip(STATES, states, strict=True) if count},
        _under(values, "headline."),
        _under(values, "answered."),
        [
            Trusted(rule, chosen_on, estimate(at if pooled else np.nan).value, **_under(values, f"trusted.{rule}."))
            for rule, at in thresholds(method, rows, subset.tasks, settings).items()
        ],
        _curves(table, rows, settings) if pooled and has_truth else None,
    )


def _under(values: Mapping[str, Estimate], prefix: str) -> dict[str, Estimate]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _curves(table: PredictionTable, rows: IntArray, settings: Settings) -> Curves:
    counts = count_table(table, rows)
    return Curves(
        reliability_curve(counts, bins=settings.bins, edges=settings.edges, level=settings.level),
        histogram(counts, edges=settings.edges),
        risk_coverage(counts),
        trusted.trusted_curve(counts),
        work_curve(table, rows),
    )


def _classwise(table: PredictionTable, subset: Subset, suite: Suite, settings: Settings) -> dict[str, Estimate]:
    """Classwise ECE of the distributions, without an interval; only for a single task, because tasks differ in
    labels."""
    if table.distributions is None or len(subset.tasks) > 1:
        return {}
    rows, columns = subset.rows, label_codes(table, suite, subset.tasks)
    shares: FloatArray = np.nan_to_num(table.distributions[rows][:, columns])
    usable = table.usable()[rows] & (shares.sum(-1) > 0)
    if not usable.any():
        return {}
    guess = distribution(shares[usable], "distribution")
    truth = np.argmax(table.truth[rows][usable][:, None] == columns, -1)
    bins, edges, invalid = settings.bins, settings.edges, int((~usable).sum())
    return {
        "headline.classwise_ece": estimate(classwise_ece(guess, truth, bins=bins, edges=edges, invalid=invalid)),
        "answered.classwise_ece": estimate(classwise_ece(guess, truth, bins=bins, edges=edges)),
    }
