"""Parts of rows that nearly all differ: distributions against the raters', confidence against token probability.

Each figure is a function of sums over rows, so a replicate is a weighting of the rows. Not the metrics themselves
(see distributional and alignment).

    python -m pytest tests/evaluation/test_parts.py
"""

from __future__ import annotations

import numpy as np

from emocaliber.evaluation import alignment, distributional
from emocaliber.evaluation.parts import Part, Values
from emocaliber.evaluation.scorecard import Settings
from emocaliber.evaluation.tally import BoolArray, FloatArray, IntArray, ratio

_MEANS = ("bhattacharyya", "hellinger", "jensen_shannon", "kl")


def distribution_part(
    raters: FloatArray, predicted: FloatArray, usable: BoolArray, labels: FloatArray, settings: Settings
) -> Part:
    """Distributional metrics on n rows.

    `raters` (n, L) sum to 1; `predicted` (n, L) are read only where `usable` (n,), other rows take each metric's
    worst value; `labels` (n,) is how many labels a row's task has.
    """
    measured = _measured(raters, predicted, usable, settings)
    rows, codes = _distinct(np.column_stack((measured, labels, np.ones(usable.size), usable)))
    headline = rows[:, :-1]
    answered = headline * rows[:, -1:]

    def statistic(counts: FloatArray) -> Values:
        return _named("headline", counts @ headline) | _named("answered", counts @ answered)

    return Part(codes, len(rows), statistic)


def alignment_part(confidence: FloatArray, probability: FloatArray) -> Part:
    """Rank correlation and mean gap on the rows that have both. The ranks are those of the sample in every
    replicate."""
    products = alignment.rank_products(confidence, probability)
    columns, codes = _distinct(np.column_stack((products, confidence - probability, np.ones(confidence.size))))

    def statistic(counts: FloatArray) -> Values:
        sums = counts @ columns
        means = ratio(sums[..., :-1], sums[..., -1:])
        values = {
            "alignment_rank_correlation": alignment.correlation_of_sums(means[..., :5]),
            "alignment_mean_gap": means[..., 5],
        }
        return {f"{prefix}.{name}": value for prefix in ("headline", "answered") for name, value in values.items()}

    return Part(codes, len(columns), statistic)


def _distinct(rows: FloatArray) -> tuple[FloatArray, IntArray]:
    """The distinct rows, sorted, and the place of each row among them: in no order but their own."""
    order = np.lexsort(rows.T)
    ordered = rows[order]
    new = np.concatenate(([True], (ordered[1:] != ordered[:-1]).any(1)))
    codes = np.empty(len(rows), np.int64)
    codes[order] = np.cumsum(new) - 1
    return ordered[new], codes


def _measured(raters: FloatArray, predicted: FloatArray, usable: BoolArray, settings: Settings) -> FloatArray:
    """Columns of _MEANS, the squared residual and the squared share, (n, 6)."""
    guess = np.where(usable[:, None], predicted, raters)
    columns = [
        np.where(usable, distributional.bhattacharyya(raters, guess), 0.0),
        np.where(usable, distributional.hellinger(raters, guess), 1.0),
        np.where(usable, distributional.jensen_shannon(raters, guess), 1.0),
        np.where(usable, distributional.kl(raters, guess, clip=settings.log_clip), -np.log(settings.log_clip)),
        np.where(usable, distributional.squared_residual(raters, guess), distributional.worst_residual(raters)),
        (raters**2).sum(-1),
    ]
    return np.column_stack(columns)


def _named(prefix: str, sums: FloatArray) -> Values:
    count = sums[..., -1]
    values = {f"{prefix}.{name}": ratio(sums[..., column], count) for column, name in enumerate(_MEANS)}
    values[f"{prefix}.r2"] = distributional.r2(sums[..., 4], sums[..., 5], count, ratio(sums[..., 6], count))
    return values
