"""Subgroup audit: accuracy and calibration in each group of given columns, and which groups differ from the rest.

p-values are adjusted jointly for all groups of all columns and both measures (`max_t`), because whoever looks at twenty
groups finds a bad one by chance; the number of tests is part of the result. For level and power see
eval/results/audit.md.

    from emocaliber.evaluation import audit
    result = audit(confidence, correct, by={"age": ages, "camera": cameras}, clusters=image_id)
    result.worst("overconfidence").name
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from emocaliber.core.errors import UserError
from emocaliber.core.prediction_table import PredictionTable
from emocaliber.evaluation.confidence_families import confidence_family
from emocaliber.evaluation.counts import BoolArray, FloatArray, IntArray, unit_interval
from emocaliber.evaluation.grouping import Grouping, group_rows
from emocaliber.evaluation.intervals import bootstrap_families, estimates
from emocaliber.evaluation.max_t import MaxTResult, max_t
from emocaliber.evaluation.scorecard import Audit, AuditedGroup, Estimate, GroupDifference, Settings, estimate

MINIMUM = 20
"""A group with fewer clusters (or rows, without clusters) than this is not tested."""
PERMUTATIONS = 999
METRICS_SHOWN = ("accuracy", "mean_confidence", "overconfidence", "ece", "brier", "auroc")
SETTINGS = Settings(10, "right", 0.001, 0.1, 0.8, "bca", 0.95, 1000, "row", 0)


def audit(
    confidence: ArrayLike,
    correct: ArrayLike,
    by: Mapping[str, Sequence[object]],
    *,
    answered: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    bins: int = 4,
    minimum: int = MINIMUM,
    settings: Settings = SETTINGS,
    method: str = "model",
) -> Audit:
    """Audit n answers: `confidence` (n,) in [0, 1], `correct` (n,) of 0/1, `by` maps a column's name to its n values.

    `answered` (n,) is False where no label or confidence could be read: such a row counts as wrong for accuracy and is
    left out of calibration. Rows of one of the `clusters` (n,) are resampled and permuted together. Numeric columns are
    cut into `bins` at their quantiles. Groups with fewer than `minimum` units are reported, not tested. Raises
    ValueError naming the array for lengths that differ or values outside [0, 1].
    """
    usable = np.ones(np.size(confidence), bool) if answered is None else np.asarray(answered, bool)
    if usable.shape != np.shape(confidence):
        raise ValueError(f"answered has {usable.size} rows, confidence {np.size(confidence)}; give the same rows")
    value = np.where(usable, np.asarray(confidence, np.float64), 0.0)
    unit_interval(value, "confidence")
    right = unit_interval(correct, "correct") > 0.5
    if wrong := [name for name, values in by.items() if len(values) != value.size]:
        raise ValueError(
            f"column {wrong[0]!r} has {len(by[wrong[0]])} rows, confidence {value.size}; give the same rows"
        )
    unit = None if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    groupings = [group_rows(name, values, bins=bins) for name, values in by.items()]
    return _audit_groups(value, right, usable, unit, groupings, minimum, settings, method)


def audit_table(
    table: PredictionTable, by: Mapping[str, Sequence[object]], *, bins: int = 4, settings: Settings = SETTINGS
) -> Audit:
    """Audit a method's table by columns with one value per row. Raises UserError if the table is a tally."""
    if table.weight is not None:
        raise UserError("rows that were counted while streaming have no columns to group by; give a smaller file")
    clusters = table.cluster if np.unique(table.cluster).size < len(table) else None
    usable, right = table.usable(), table.label_right()
    return audit(
        np.where(usable, table.confidence, 0.0),
        right,
        by,
        answered=usable,
        clusters=clusters,
        bins=bins,
        settings=settings,
        method=table.method,
    )


def _audit_groups(
    confidence: FloatArray,
    right: BoolArray,
    usable: BoolArray,
    clusters: IntArray | None,
    groupings: Sequence[Grouping],
    minimum: int,
    settings: Settings,
    method: str,
) -> Audit:
    hit = (right & usable).astype(np.float64)
    tests = max_t(
        np.column_stack((hit, confidence - hit)),
        np.column_stack((np.ones(usable.size, bool), usable)),
        [grouping.codes for grouping in groupings],
        clusters,
        minimum=minimum,
        replicates=PERMUTATIONS,
        seed=settings.seed,
    )
    groups = []
    for grouping, tested in zip(groupings, tests, strict=True):
        for code, name in enumerate(grouping.names):
            rows = np.flatnonzero(grouping.codes == code)
            cluster = None if clusters is None else clusters[rows]
            values = _values(rows, confidence[rows], right[rows], usable[rows], cluster, settings)
            answered = int(usable[rows].sum())
            units = rows.size if cluster is None else np.unique(cluster).size
            differences = [_difference(tested, code, measure) for measure in (0, 1)]
            groups.append(AuditedGroup(grouping.column, name, rows.size, answered, units, values, *differences))
    return Audit(
        method,
        {grouping.column: list(grouping.edges) for grouping in groupings if grouping.edges is not None},
        minimum,
        int(sum(np.isfinite(tested.p_value).sum() for tested in tests)),
        PERMUTATIONS,
        "row" if clusters is None else "cluster",
        groups,
    )


def _values(
    rows: IntArray,
    confidence: FloatArray,
    right: BoolArray,
    usable: BoolArray,
    clusters: IntArray | None,
    settings: Settings,
) -> dict[str, Estimate]:
    family = confidence_family(
        rows, confidence, right, usable, None, thresholds={}, settings=settings, brief=True, weight=None
    )
    values = estimates(bootstrap_families([family], None if clusters is None else [clusters], settings), settings)
    return {name: values[f"headline.{name}"] for name in METRICS_SHOWN}


def _difference(tested: MaxTResult, code: int, measure: int) -> GroupDifference:
    value, p_value = tested.difference[code, measure], tested.p_value[code, measure]
    return GroupDifference(estimate(value).value, estimate(p_value).value)
