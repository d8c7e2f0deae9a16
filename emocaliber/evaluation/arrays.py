"""`score`: the scorecard of plain arrays, without files or prediction rows.

from emocaliber.evaluation import score
card = score(confidence, correct, groups=dataset, clusters=image_id)
print(card)
card["brier"].value, card.method("model").find("group", "web")["ece"].low
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emocaliber.core.prediction_table import SOURCES, STATES, Categorical, PredictionTable
from emocaliber.core.predictions import Source, State
from emocaliber.evaluation.compute import DEFAULTS, build_scorecard
from emocaliber.evaluation.counts import BoolArray, FloatArray
from emocaliber.evaluation.scorecard import Scorecard

RIGHT, WRONG = "right", "wrong"
"""Stand-in labels for `correct`, which comes without label names."""


def score(
    confidence: ArrayLike,
    correct: ArrayLike | None = None,
    *,
    truth: ArrayLike | None = None,
    predicted: ArrayLike | None = None,
    labels: Sequence[str] | None = None,
    votes: ArrayLike | None = None,
    second_votes: ArrayLike | None = None,
    distribution: ArrayLike | None = None,
    probability: ArrayLike | None = None,
    answered: ArrayLike | None = None,
    tasks: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    method: str = "model",
    bins: int = DEFAULTS.bins,
    replicates: int = DEFAULTS.replicates,
    level: float = DEFAULTS.level,
    seed: int = DEFAULTS.seed,
) -> Scorecard:
    """The scorecard of n answers: every metric that applies, with bootstrap intervals.

    Args:
        confidence: (n,) in [0, 1].
        correct: (n,) of 0/1 or bool. Alternatively give `truth` and `predicted`, (n,) each, as label names or as
            indices into `labels` (predicted -1 for none); these add F1.
        labels: the L label names, in the order of the columns of `votes` and `distribution`.
        votes: (n, L) annotator counts; adds agreement, its Brier score and ECE, and strata of ambiguity.
        second_votes: (n, L) counts of a second panel on the same items; also scores the answers against that panel's
            plurality label and vote shares, next to a human reference row (the first panel's label, with its vote share
            as the confidence; needs `votes`).
        distribution: (n, L) predicted probabilities; adds classwise ECE and, with votes, the divergences.
        probability: (n,) token probability of the predicted label; adds its alignment with the confidence.
        answered: (n,) of bool, False where no label or confidence could be read. Such a row counts as wrong with the
            worst score, and its confidence may be NaN.
        tasks, groups: (n,) of names. The scorecard has a subset for each, and the macro mean over tasks.
        clusters: (n,) of names: rows of one cluster (drawings of one emoji, tasks of one image) are resampled
            together. By default rows are resampled.
        method: the name that the scorecard prints.
        bins: number of ECE bins.
        level: nominal coverage of the intervals.
        replicates, seed: of the bootstrap.

    Returns:
        A Scorecard: `card["ece"]` is an Estimate (value, low, high) over all rows, `print(card)` shows every metric.

    Raises:
        ValueError: names the array and the row, for lengths that differ, NaN, values outside [0, 1] or in per cent.
        UserError: if all rows are in one cluster.
    """
    values = _column("confidence", confidence, None, np.float64)
    n = values.size
    usable = np.ones(n, bool) if answered is None else _column("answered", answered, n, np.bool_)
    matrices = (votes, second_votes, distribution)
    if any(matrix is not None for matrix in matrices) and (labels is None or truth is None):
        raise ValueError(
            "votes, second_votes and distribution need labels (the names of their columns), truth and predicted"
        )
    vocabulary, truths, named = _labels(correct, truth, predicted, labels, n)
    by_label = partial(_by_label, n=n, labels=labels or (), vocabulary=vocabulary)
    table = PredictionTable(
        method,
        np.arange(n).astype(np.dtypes.StringDType()),
        _categorical("tasks", tasks, n, "all"),
        _categorical("groups", groups, n, ""),
        np.arange(n, dtype=np.int32) if clusters is None else _categorical("clusters", clusters, n, "").codes,
        vocabulary,
        truths,
        named,
        _unit_where("confidence", values, usable),
        _states(usable, named),
        np.full(n, SOURCES.index(Source.VERBALIZED), np.int8),
        _unit_where("probability", np.full(n, np.nan) if probability is None else probability, usable, missing=True),
        by_label("votes", votes),
        by_label("distribution", distribution),
        by_label("second_votes", second_votes),
    )
    settings = replace(DEFAULTS, bins=bins, replicates=replicates, level=level, seed=seed)
    return build_scorecard({method: table}, settings=settings)


def _column(name: str, values: ArrayLike, n: int | None, kind: type[Any] | None = None) -> NDArray[Any]:
    """A one-dimensional array with n rows (any number if None)."""
    array = np.asarray(values)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} must be one-dimensional and not empty; its shape is {array.shape}")
    if n is not None and array.size != n:
        raise ValueError(f"{name} has {array.size} rows, confidence {n}: give the same rows in the same order")
    if kind is np.bool_ and not np.isin(array, (0, 1)).all():
        row = int(np.argmin(np.isin(array, (0, 1))))
        raise ValueError(f"{name} of row {row} is {array[row]!r}; give 1 or True for yes, 0 or False for no")
    return array if kind is None else array.astype(kind)


def _unit_where(name: str, values: ArrayLike, usable: BoolArray, *, missing: bool = False) -> FloatArray:
    """The values of usable rows, checked to lie in [0, 1]; NaN elsewhere. `missing` allows NaN in usable rows."""
    array = _column(name, values, usable.size, np.float64)
    read = usable & ~np.isnan(array) if missing else usable
    wrong = read & ~((array >= 0) & (array <= 1))
    if wrong.any():
        row = int(np.argmax(wrong))
        if np.isnan(array[row]):
            fix = "give a number, or set `answered` to False for this row"
        elif (array[read] >= 0).all() and (array[read] <= 100).all():
            fix = "the values look like per cent: divide them by 100"
        else:
            fix = "give a number from 0 to 1"
        raise ValueError(f"{name} of row {row} is {array[row]:g}, {int(wrong.sum())} such rows in all; {fix}")
    return np.where(read, array, np.nan)


def _labels(
    correct: ArrayLike | None,
    truth: ArrayLike | None,
    predicted: ArrayLike | None,
    labels: Sequence[str] | None,
    n: int,
) -> tuple[tuple[str, ...], NDArray[np.int32], NDArray[np.int32]]:
    """The label names in alphabetical order, and truth and prediction as codes into them, -1 for none."""
    if (correct is None) == (truth is None) or (truth is None) != (predicted is None):
        raise ValueError("give either correct, or both truth and predicted")
    if correct is not None:
        right = _column("correct", correct, n, np.bool_)
        return (RIGHT, WRONG), np.zeros(n, np.int32), np.where(right, 0, 1).astype(np.int32)
    columns = {
        "truth": _column("truth", [] if truth is None else truth, n),
        "predicted": _column("predicted", [] if predicted is None else predicted, n),
    }
    if labels is not None:
        columns = {name: _named(name, column, list(labels)) for name, column in columns.items()}
    names = set(labels or ()) | {str(value) for column in columns.values() for value in column if value is not None}
    vocabulary = tuple(sorted(names))
    place = {name: code for code, name in enumerate(vocabulary)}
    codes = {
        name: np.array([-1 if value is None else place[str(value)] for value in column], np.int32)
        for name, column in columns.items()
    }
    if (codes["truth"] < 0).any():
        raise ValueError(f"truth of row {int(np.argmin(codes['truth']))} is not a label; every row needs one")
    return vocabulary, codes["truth"], codes["predicted"]


def _named(name: str, column: NDArray[Any], labels: list[str]) -> NDArray[Any]:
    """The column as label names, None for no label; integers are indices into `labels`."""
    indices = column.dtype.kind in "iu"
    legal = (
        (column >= -1) & (column < len(labels))
        if indices
        else np.array([value is None or value in labels for value in column])
    )
    if not legal.all():
        row = int(np.argmin(legal))
        raise ValueError(f"{name} of row {row} is {column[row]!r}, which is not among the labels {labels}")
    return np.array([*labels, None], dtype=object)[column] if indices else column


def _categorical(name: str, values: ArrayLike | None, n: int, default: str) -> Categorical:
    if values is None:
        return Categorical(np.zeros(n, np.int32), (default,))
    names, codes = np.unique(_column(name, values, n).astype(str), return_inverse=True)
    return Categorical(codes.astype(np.int32), tuple(names.tolist()))


def _states(usable: BoolArray, predicted: NDArray[np.int32]) -> NDArray[np.int8]:
    """Each row's state, as a code into STATES, from whether it is usable and the code of its label."""
    states = np.where(usable, STATES.index(State.OK), STATES.index(State.MISSING_CONFIDENCE))
    return np.where(predicted < 0, STATES.index(State.MISSING_LABEL), states).astype(np.int8)


def _by_label(
    name: str, values: ArrayLike | None, n: int, labels: Sequence[str], vocabulary: Sequence[str]
) -> FloatArray | None:
    """The matrix (n, L) with its columns reordered from `labels` to `vocabulary`; None if there is none."""
    if values is None:
        return None
    array = np.asarray(values, np.float64)
    if array.shape != (n, len(labels)):
        raise ValueError(f"{name} has shape {array.shape}; it must be ({n}, {len(labels)}): a column for each label")
    wrong = (array < 0).any(1) | ~np.isfinite(array).all(1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{name} of row {row} is {array[row].tolist()}; give numbers that are not negative")
    return array[:, [list(labels).index(label) for label in vocabulary]]
