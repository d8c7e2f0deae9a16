"""Panel: several methods on the same rows, evaluated on the same bootstrap draws.

Their metric families are refined to common cells, so that one seed draws the same rows for all of them and differences
are paired. Each task is drawn once; the draws serve the task and the mean over tasks. Methods from two files are
compared on the samples that both have.

    panel = Panel([method, *references(method)], suite, DEFAULTS)
    panel.estimates(0, subset)["headline.ece"], panel.differences(0, 1, subset)["headline.ece"]
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from emocaliber.core.errors import UserError
from emocaliber.evaluation import trusted
from emocaliber.evaluation.cells import MetricFamily, on_common_cells
from emocaliber.evaluation.counts import IntArray, count_table
from emocaliber.evaluation.families import metric_families
from emocaliber.evaluation.intervals import Bootstrapped, bootstrap_families, differences, estimates, mean_over
from emocaliber.evaluation.scorecard import Comparison, Difference, Estimate, Settings
from emocaliber.evaluation.subsets import MethodRows, Subset, subsets
from emocaliber.evaluation.suite import Suite

COMPARED = ("confidence", "label", "distribution", "disagreement", "second panel", "sets")
"""The families for which differences are computed."""
Families = dict[str, MetricFamily]


@dataclass
class Panel:
    """`methods` whose tables hold the same samples in the same order. `headline_only` skips all other values."""

    methods: Sequence[MethodRows]
    suite: Suite
    settings: Settings
    headline_only: bool = False
    _families: dict[bytes, list[Families]] = field(default_factory=dict)
    _bootstrapped: dict[tuple[int, ...], Bootstrapped] = field(default_factory=dict)

    def estimates(self, method: int, subset: Subset) -> dict[str, Estimate]:
        """The values that all parts of the subset have, averaged over the parts, with intervals."""
        values: dict[str, Estimate] = {}
        for families in self._shared_by_parts(method, subset).values():
            values |= estimates(self._values(families), self.settings)
        return values

    def differences(self, first: int, second: int, subset: Subset) -> dict[str, Difference]:
        """First minus second, for every headline value that both have in all parts of the subset."""
        left, right = (self._shared_by_parts(number, subset) for number in (first, second))
        values: dict[str, Difference] = {}
        for kind in COMPARED:
            if kind in left and kind in right:
                of_first, of_second = (_headline(self._values(side[kind])) for side in (left, right))
                values |= differences(of_first, of_second, self.settings)
        return values

    def _shared_by_parts(self, method: int, subset: Subset) -> dict[str, list[MetricFamily]]:
        """By name, the families that all parts of the subset have, one per part."""
        parts = [self._of_rows(rows, tasks)[method] for rows, tasks in subset.parts]
        return {kind: [part[kind] for part in parts] for kind in parts[0] if all(kind in part for part in parts)}

    def _of_rows(self, rows: IntArray, tasks: Sequence[str]) -> list[Families]:
        """Each method's families on these rows; `tasks` are the tasks of the rows."""
        key = hashlib.sha256(rows.tobytes()).digest()
        if key not in self._families:
            of_methods = [
                metric_families(
                    method.table,
                    rows,
                    tasks,
                    self.suite,
                    thresholds=thresholds(method, rows, tasks, self.settings),
                    settings=self.settings,
                    headline_only=self.headline_only,
                )
                for method in self.methods
            ]
            stream = 1 + list(self.suite.tasks).index(tasks[0]) if len(tasks) == 1 else 0
            for kind in dict.fromkeys(kind for families in of_methods for kind in families):
                holders = [families for families in of_methods if kind in families]
                common = on_common_cells([families[kind] for families in holders])
                for families, family in zip(holders, common, strict=True):
                    families[kind] = replace(family, stream=stream)
            self._families[key] = of_methods
        return self._families[key]

    def _values(self, families: Sequence[MetricFamily]) -> Bootstrapped:
        """The values averaged over the families. Tasks are drawn independently, unless a cluster spans two of them."""
        clusters = self.methods[0].clusters(family.rows for family in families)
        if len(families) > 1 and (clusters is None or not _cross(clusters)):
            return mean_over([self._values([family]) for family in families])
        key = tuple(map(id, families))
        if key not in self._bootstrapped:
            self._bootstrapped[key] = bootstrap_families(families, clusters, self.settings)
        return self._bootstrapped[key]


def thresholds(method: MethodRows, rows: IntArray, tasks: Sequence[str], settings: Settings) -> dict[str, float]:
    """Each rule's threshold, chosen on the calibration rows of these tasks, or on all of them if these tasks have none;
    infinity if no threshold satisfies the rule."""
    if method.calibration is None:
        if not method.threshold_on_test:
            return {}
        counts = count_table(method.table, rows)
    else:
        codes = [method.calibration.task.code(task) for task in tasks]
        rows_of_tasks = np.flatnonzero(np.isin(method.calibration.task.codes, codes))
        counts = count_table(
            method.calibration, rows_of_tasks if rows_of_tasks.size else np.arange(len(method.calibration))
        )
    answered = counts.answered_only()
    bound = f"risk at most {settings.risk:g} with confidence {settings.level:g}"
    return {
        "best F1": trusted.best_f1_threshold(answered),
        "precision-recall crossing": trusted.crossing_threshold(answered),
        bound: trusted.risk_threshold(answered, risk=settings.risk, level=settings.level),
    }


def _cross(clusters: Sequence[IntArray]) -> bool:
    """Whether any cluster has rows in two parts."""
    distinct = [np.unique(part) for part in clusters]
    return np.unique(np.concatenate(distinct)).size < sum(part.size for part in distinct)


def _headline(values: Bootstrapped) -> Bootstrapped:
    prefix = "headline."
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def compare(first: MethodRows, second: MethodRows, suite: Suite, settings: Settings) -> list[Comparison]:
    """First minus second, in every subset except the strata; empty if they share no sample.

    Raises UserError if a shared sample differs in task, group or truth.
    """
    shared = _shared_rows(first, second)
    if shared is None:
        return []
    first, second = _restrict(first, shared[0]), _restrict(second, shared[1])
    _refuse_contradictions(first, second)
    return compare_within(Panel([first, second], suite, settings, headline_only=True), 0, 1)


def compare_within(panel: Panel, first: int, second: int) -> list[Comparison]:
    """First minus second, for two methods of a panel, in every subset except the strata."""
    left, right = panel.methods[first].table, panel.methods[second].table
    return [
        Comparison(
            left.method,
            right.method,
            subset.kind,
            subset.name,
            subset.aggregation,
            left.count(subset.rows),
            panel.differences(first, second, subset),
        )
        for subset in subsets(left, panel.suite)
        if subset.kind != "stratum"
    ]


def _shared_rows(first: MethodRows, second: MethodRows) -> tuple[IntArray, IntArray] | None:
    """The row numbers in each of the samples that both have; None if there are none."""
    if np.array_equal(first.table.ids, second.table.ids):
        all_rows = np.arange(len(first.table))
        return all_rows, all_rows
    place = {name: row for row, name in enumerate(second.table.ids.tolist())}
    pairs = [(row, place[name]) for row, name in enumerate(first.table.ids.tolist()) if name in place]
    if not pairs:
        return None
    return np.array([row for row, _ in pairs]), np.array([row for _, row in pairs])


def _restrict(method: MethodRows, rows: IntArray) -> MethodRows:
    """The method restricted to these rows, without calibration rows, because thresholds are not compared."""
    is_all = rows.size == len(method.table) and (rows == np.arange(rows.size)).all()
    table = method.table if is_all else method.table.take(rows)
    return replace(method, table=table, calibration=None, threshold_on_test=False)


def _refuse_contradictions(first: MethodRows, second: MethodRows) -> None:
    a, b = first.table, second.table
    for key, left, right in (
        ("task", (a.task.names, a.task.codes), (b.task.names, b.task.codes)),
        ("group", (a.group.names, a.group.codes), (b.group.names, b.group.codes)),
        ("truth", (a.labels, a.truth), (b.labels, b.truth)),
    ):
        translate = np.array([right[0].index(name) if name in right[0] else -2 for name in left[0]])
        if (wrong := translate[left[1]] != right[1]).any():
            row = int(np.argmax(wrong))
            raise UserError(
                f"sample {a.ids[row]!r} has {key} {left[0][left[1][row]]!r} in {a.method!r} and"
                f" {right[0][right[1][row]]!r} in {b.method!r}: the files do not hold the same samples"
            )
