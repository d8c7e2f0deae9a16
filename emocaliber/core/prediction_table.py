"""PredictionTable: the predictions of one method as columns, which scales to millions of rows.

It holds exactly what the rows hold; nothing is derived. Strings become integer codes into a tuple of names; missing
values are -1 or NaN.

    python -c "from emocaliber.core.prediction_table import PredictionTable as T; print(T.from_predictions.__doc__)"
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Reason, Source, State

STATES = tuple(State)
SOURCES = tuple(Source)
REASONS = tuple(Reason)


@dataclass(frozen=True)
class Categorical:
    """A categorical column: row i holds `names[codes[i]]`; a code of -1 is missing."""

    codes: NDArray[np.int32]
    names: tuple[str, ...]

    def code(self, name: str) -> int:
        """The code of a name, or -1 if no row has it."""
        return self.names.index(name) if name in self.names else -1


@dataclass(frozen=True)
class PredictionTable:
    """n rows of one method, in the order they were given. Every array has n rows; L is the number of `labels`.

    `ids` (n,) are unique. `labels` are in alphabetical order; `truth` and `predicted` (n,) index them, with predicted
    -1 for none. `confidence` and `probability` (n,) are NaN if missing; `states` and `sources` (n,) index STATES and
    SOURCES. `cluster` (n,) holds cluster numbers.

    `votes`, `second_votes` and `distributions` (n, L) have one column per label: all 0 in a row without votes, all NaN
    in a row without a distribution, and the array is None if no row has any. `raters` (n,) is NaN if not stated. `sets`
    (n, L) is 1 for the labels in the row's prediction set, 0 for the others, and all NaN for a row without a set;
    `nominal_coverage` (n,) is the coverage that the set is built for, NaN for such a row. `doubts` (n, 2) holds
    `doubt_people` and `doubt_unfamiliar`, and `reasons` (n,) index REASONS, -1 for none; `costs` (n, 2) holds the
    questions and the generated tokens that an answer took, NaN if not counted; each of these is None if no row has any.

    In a tally (core.tally) each row stands for `weight` (n,) identical rows, and `cluster` is a group of clusters.
    """

    method: str
    ids: NDArray[np.str_]
    task: Categorical
    group: Categorical
    cluster: NDArray[np.int32]
    labels: tuple[str, ...]
    truth: NDArray[np.int32]
    predicted: NDArray[np.int32]
    confidence: NDArray[np.float64]
    states: NDArray[np.int8]
    sources: NDArray[np.int8]
    probability: NDArray[np.float64]
    votes: NDArray[np.float64] | None
    distributions: NDArray[np.float64] | None
    second_votes: NDArray[np.float64] | None = None
    raters: NDArray[np.float64] | None = None
    weight: NDArray[np.int64] | None = None
    sets: NDArray[np.float64] | None = None
    nominal_coverage: NDArray[np.float64] | None = None
    doubts: NDArray[np.float64] | None = None
    reasons: NDArray[np.int8] | None = None
    costs: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def count(self, rows: NDArray[Any]) -> int:
        """The number of rows selected by row numbers (k,) or a mask (n,): the sum of their weights."""
        if self.weight is not None:
            return int(self.weight[rows].sum())
        return int(rows.sum() if rows.dtype == np.bool_ else rows.size)

    def weights(self, rows: NDArray[np.intp]) -> NDArray[np.int64] | None:
        """The weights of these rows, (k,); None if the table has none, that is, all are 1."""
        return None if self.weight is None else self.weight[rows]

    @classmethod
    def from_predictions(cls, rows: Iterable[Prediction]) -> PredictionTable:
        """The table of one method's rows. Raises UserError if there are no rows, several methods, or a repeated id."""
        tables = split_by_method(rows)
        if len(tables) != 1:
            raise UserError(f"expected the rows of one method, found those of {sorted(tables) or 'none'}")
        return next(iter(tables.values()))

    def take(self, rows: NDArray[np.intp]) -> PredictionTable:
        """The rows with these numbers, in this order."""
        return replace(
            self,
            ids=self.ids[rows],
            task=replace(self.task, codes=self.task.codes[rows]),
            group=replace(self.group, codes=self.group.codes[rows]),
            cluster=self.cluster[rows],
            truth=self.truth[rows],
            predicted=self.predicted[rows],
            confidence=self.confidence[rows],
            states=self.states[rows],
            sources=self.sources[rows],
            probability=self.probability[rows],
            votes=None if self.votes is None else self.votes[rows],
            distributions=None if self.distributions is None else self.distributions[rows],
            second_votes=None if self.second_votes is None else self.second_votes[rows],
            raters=None if self.raters is None else self.raters[rows],
            weight=self.weights(rows),
            sets=None if self.sets is None else self.sets[rows],
            nominal_coverage=None if self.nominal_coverage is None else self.nominal_coverage[rows],
            doubts=None if self.doubts is None else self.doubts[rows],
            reasons=None if self.reasons is None else self.reasons[rows],
            costs=None if self.costs is None else self.costs[rows],
        )

    def usable(self) -> NDArray[np.bool_]:
        """Mask of the rows with a label and a confidence (state "ok"), (n,)."""
        return np.asarray(self.states == STATES.index(State.OK))

    def label_right(self) -> NDArray[np.bool_]:
        """Mask of the rows whose predicted label is the truth, whatever their state, (n,)."""
        return np.asarray(self.predicted == self.truth)


def split_by_method(rows: Iterable[Prediction]) -> dict[str, PredictionTable]:
    """One table per method, in order of first appearance. Raises UserError if a method repeats an id."""
    columns: dict[str, _Columns] = {}
    for row in rows:
        own = columns.get(row.method)
        if own is None:
            own = columns[row.method] = _Columns(row.method)
        own.append(row)
    return {method: own.table() for method, own in columns.items()}


class _Codes:
    """Builds a categorical column; codes are assigned in order of first appearance."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}
        self.codes = array("i")

    def append(self, name: str) -> None:
        self.codes.append(self.index.setdefault(name, len(self.index)))

    def categorical(self) -> Categorical:
        return Categorical(np.frombuffer(self.codes, np.int32).copy(), tuple(self.index))


_STATE_CODES = {state: code for code, state in enumerate(STATES)}
_SOURCE_CODES = {source: code for code, source in enumerate(SOURCES)}
_REASON_CODES = {reason: code for code, reason in enumerate(REASONS)}


class _Shares:
    """Builds an (n, L) matrix of numbers per label, of which some rows may have none."""

    def __init__(self) -> None:
        self.present = array("i")
        self.rows, self.columns, self.values = array("i"), array("i"), array("d")

    def append(self, row: int, shares: dict[int, float]) -> None:
        self.present.append(row)
        for label, value in shares.items():
            self.rows.append(row)
            self.columns.append(label)
            self.values.append(value)

    def matrix(self, shape: tuple[int, int], place: NDArray[np.int32], missing: float) -> NDArray[np.float64] | None:
        if not self.present:
            return None
        matrix = np.full(shape, missing)
        matrix[np.frombuffer(self.present, np.int32)] = 0.0
        if not self.rows:
            return matrix
        rows = np.frombuffer(self.rows, np.int32)
        matrix[rows, place[np.frombuffer(self.columns, np.int32)]] = np.frombuffer(self.values, np.float64)
        return matrix


@dataclass
class _Columns:
    """A table under construction."""

    method: str
    ids: list[str] = field(default_factory=list)
    task: _Codes = field(default_factory=_Codes)
    group: _Codes = field(default_factory=_Codes)
    cluster: _Codes = field(default_factory=_Codes)
    labels: dict[str, int] = field(default_factory=dict)
    truth: array[int] = field(default_factory=lambda: array("i"))
    predicted: array[int] = field(default_factory=lambda: array("i"))
    confidence: array[float] = field(default_factory=lambda: array("d"))
    states: array[int] = field(default_factory=lambda: array("b"))
    sources: array[int] = field(default_factory=lambda: array("b"))
    probability: array[float] = field(default_factory=lambda: array("d"))
    votes: _Shares = field(default_factory=_Shares)
    distributions: _Shares = field(default_factory=_Shares)
    second_votes: _Shares = field(default_factory=_Shares)
    raters: array[float] = field(default_factory=lambda: array("d"))
    sets: _Shares = field(default_factory=_Shares)
    nominal_coverage: array[float] = field(default_factory=lambda: array("d"))
    doubts: array[float] = field(default_factory=lambda: array("d"))
    reasons: array[int] = field(default_factory=lambda: array("b"))
    costs: array[float] = field(default_factory=lambda: array("d"))

    def append(self, row: Prediction) -> None:
        self.ids.append(row.id)
        self.task.append(row.task)
        self.group.append(row.group)
        self.cluster.append(row.cluster or row.id)  # a row without a cluster is one of its own
        if row.truth is None:
            raise UserError(f"method {self.method!r}: row {row.id!r} has no truth and cannot be scored; leave it out")
        self.truth.append(self._label(row.truth))
        self.predicted.append(-1 if row.predicted is None else self._label(row.predicted))
        self.confidence.append(np.nan if row.confidence is None else row.confidence)
        self.states.append(_STATE_CODES[row.state])
        self.sources.append(_SOURCE_CODES[row.source])
        self.probability.append(np.nan if row.probability is None else row.probability)
        self.raters.append(np.nan if row.raters is None else row.raters)
        for votes, column in ((row.votes, self.votes), (row.second_votes, self.second_votes)):
            if votes is not None:
                column.append(len(self.ids) - 1, {self._label(name): count for name, count in votes.items()})
        if row.distribution is not None:
            shares = {self._label(name): share for name, share in row.distribution.items()}
            self.distributions.append(len(self.ids) - 1, shares)
        if row.prediction_set is not None:
            self.sets.append(len(self.ids) - 1, {self._label(name): 1.0 for name in row.prediction_set})
        self.nominal_coverage.append(np.nan if row.set_coverage is None else row.set_coverage)
        for doubt in (row.doubt_people, row.doubt_unfamiliar):
            self.doubts.append(np.nan if doubt is None else doubt)
        self.reasons.append(-1 if row.reason is None else _REASON_CODES[row.reason])
        for cost in (row.questions, row.tokens):
            self.costs.append(np.nan if cost is None else cost)

    def _label(self, name: str) -> int:
        return self.labels.setdefault(name, len(self.labels))

    def table(self) -> PredictionTable:
        self._refuse_repeated_ids()
        labels = sorted(self.labels)
        place = np.empty(len(labels) + 1, np.int32)
        place[[self.labels[name] for name in labels]] = np.arange(len(labels))
        place[-1] = -1
        shape = (len(self.ids), len(labels))
        doubts = np.frombuffer(self.doubts, np.float64).reshape(-1, 2)
        reasons = np.frombuffer(self.reasons, np.int8)
        costs = np.frombuffer(self.costs, np.float64).reshape(-1, 2)
        return PredictionTable(
            self.method,
            np.array(self.ids, dtype=np.dtypes.StringDType()),
            self.task.categorical(),
            self.group.categorical(),
            self.cluster.categorical().codes,
            tuple(labels),
            place[np.frombuffer(self.truth, np.int32)],
            place[np.frombuffer(self.predicted, np.int32)],
            np.frombuffer(self.confidence, np.float64),
            np.frombuffer(self.states, np.int8),
            np.frombuffer(self.sources, np.int8),
            np.frombuffer(self.probability, np.float64),
            self.votes.matrix(shape, place, 0.0),
            self.distributions.matrix(shape, place, np.nan),
            self.second_votes.matrix(shape, place, 0.0),
            np.frombuffer(self.raters, np.float64),
            sets=self.sets.matrix(shape, place, np.nan),
            nominal_coverage=np.frombuffer(self.nominal_coverage, np.float64) if self.sets.present else None,
            doubts=doubts if np.isfinite(doubts).any() else None,
            reasons=reasons if (reasons >= 0).any() else None,
            costs=costs if np.isfinite(costs).any() else None,
        )

    def _refuse_repeated_ids(self) -> None:
        if len(set(self.ids)) == len(self.ids):
            return
        seen: dict[str, int] = {}
        for row, name in enumerate(self.ids):
            if name in seen:
                raise UserError(
                    f"method {self.method!r} has id {name!r} twice, in its rows {seen[name] + 1} and {row + 1};"
                    " keep one row per sample"
                )
            seen[name] = row
