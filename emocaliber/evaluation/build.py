"""Filling a scorecard: every scope of every method, its floors, and paired differences.

Not a reader of files (see emocaliber.runs.scoring) and not a metric.

    python -m pytest tests/evaluation/test_build.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from emocaliber.core.errors import UserError
from emocaliber.core.prediction_table import PredictionTable
from emocaliber.core.predictions import Prediction
from emocaliber.evaluation import floors
from emocaliber.evaluation.comparison import compare
from emocaliber.evaluation.method import MethodRows, method_scores
from emocaliber.evaluation.scopes import completed, fitted, suite_of
from emocaliber.evaluation.scorecard import PublishedFigure, Scorecard, Settings
from emocaliber.evaluation.suite import Suite

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
    """Judge each method's rows, under the name that the mapping gives it.

    `calibration` holds rows that no method was trained on, by the same names: from them come trusted thresholds, the
    constants and the isotonic floor. Without them a trusted threshold is chosen only if `threshold_on_test` asks for
    it, and is marked so. With a `subject`, that method alone gets floors and is compared, with every other; without
    one, each has its floors and all are compared. `settings.unit` is overridden by what the rows say: "cluster" where
    any cluster holds two rows. Raises UserError where rows contradict the suite or each other.
    """
    tables = {name: _table(name, rows) for name, rows in methods.items()}
    if not tables:
        raise UserError("no method to judge: give at least one file of predictions")
    held = {name: _table(name, rows) for name, rows in (calibration or {}).items()}
    every = [*tables.values(), *held.values()]
    whole = suite_of(every) if suite is None else completed(suite, every)
    tables = {name: fitted(table, whole) for name, table in tables.items()}
    own = [MethodRows(table, held.get(name), threshold_on_test=threshold_on_test) for name, table in tables.items()]
    settings = replace(settings, unit="cluster" if any(method.clustered for method in own) else "row")
    with_floors = [(method, _floors(method)) for method in own if subject in (None, method.table.method)]
    judged = own + _distinct([floor for _, found in with_floors for floor in found])
    scores = []
    for rows in judged:
        on_progress(f"scoring {rows.table.method}")
        scores.append(method_scores(rows, whole, settings))
    comparisons = []
    for first, second in _pairs(own, with_floors):
        on_progress(f"comparing {first.table.method} with {second.table.method}")
        comparisons += compare(first, second, whole, settings)
    notes = _notes(own, whole, given=suite is not None)
    return Scorecard(
        whole.name, list(whole.tasks), list(whole.groups), settings, scores, comparisons, list(published), notes
    )


def _table(name: str, rows: Rows) -> PredictionTable:
    table = rows if isinstance(rows, PredictionTable) else PredictionTable.from_predictions(rows)
    return replace(table, method=name)


def _floors(method: MethodRows) -> list[MethodRows]:
    """What the method's own labels reach with a constant, and with its confidence recalibrated where that can be
    fitted."""
    held = method.calibration
    where = "on the calibration rows" if held is not None else "on these test rows (an oracle)"
    constant = floors.constant_per_task(method.table, held)
    found = [MethodRows(constant, None, "floor", f"every label stated with its task's accuracy {where}")]
    fitted_floor = None if held is None else floors.isotonic(method.table, held)
    if fitted_floor is not None:
        note = "the method's confidence after isotonic regression on the calibration rows"
        found.append(MethodRows(fitted_floor, None, "floor", note))
    return found


def _distinct(found: Sequence[MethodRows]) -> list[MethodRows]:
    """Floors that differ: methods with the same labels share their constant."""
    kept: dict[tuple[bytes, ...], MethodRows] = {}
    for floor in found:
        table = floor.table
        key = (table.label_right().tobytes(), table.confidence.tobytes(), table.task.codes.tobytes())
        kept.setdefault(key, floor)
    return list(kept.values())


def _pairs(
    own: Sequence[MethodRows], with_floors: Sequence[tuple[MethodRows, list[MethodRows]]]
) -> list[tuple[MethodRows, MethodRows]]:
    """Every two methods of which one has floors, and each of those with each of its floors."""
    subjects = {method.table.method for method, _ in with_floors}
    among = [pair for pair in combinations(own, 2) if subjects & {one.table.method for one in pair}]
    return among + [(method, floor) for method, found in with_floors for floor in found]


def _notes(methods: Sequence[MethodRows], suite: Suite, *, given: bool) -> list[str]:
    """What a reader must know before trusting a figure."""
    notes = []
    for method in methods:
        name, table = method.table.method, method.table
        if method.calibration is None and method.threshold_on_test:
            notes.append(f"{name}: trusted thresholds were chosen on the test rows, which flatters them")
        elif method.calibration is None:
            notes.append(f"{name}: no calibration rows, so no trusted threshold and no isotonic floor")
        if refused := int((~table.usable()).sum()):
            notes.append(f"{name}: {refused} of {len(table)} rows refused; headline figures count them as wrong")
        for task, spec in suite.tasks.items() if given else ():
            rows = int((table.task.codes == table.task.code(task)).sum())
            if spec.rows is not None and rows != spec.rows:
                notes.append(f"{name}: task {task} has {rows} rows, the suite {spec.rows}")
    return notes
