"""Prediction sets on prediction rows: "sadness or fear, 90 %". Fitted in set_fitting, stored by files.

A set map promises that the set of a new row holds its label, or the answer of a rater drawn from its votes, with at
least the probability `coverage`. Calibration and new rows must be exchangeable: of one source, none taught the model.
Rows of a cluster are one unit, and the promise is about a row of a new cluster, every cluster alike.

- `label`: the score of each row's truth.
- `rater`: the scores of all its votes, each weighted by its share, which is the mean over the rater that might have
  been drawn; a row's votes are exchangeable draws from its raters, and rows are exchangeable (conformal.threshold).

Each task (and on request each group of it) has a threshold of its own (Mondrian), which makes the promise hold there;
one that is too small takes the pooled threshold, whose promise is about all rows together.

A row that states a confidence alone gets a distribution first: what is left goes to the other labels by how often they
were right where the predicted one was wrong.

    emocaliber recalibrate fit calibration.jsonl --map sets --coverage 0.9 --out sets.json
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec.structs import replace

from emocaliber.calibration.conformal import Bools, Floats, Penalty, Score, never_empty, scores
from emocaliber.calibration.fit import Signal, signal_of
from emocaliber.core.predictions import Held, Prediction, Source

FORMAT = "emocaliber prediction sets 1"
Per = Literal["all", "task", "group"]
Spread = dict[str, dict[str, float]]


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The greatest score in a set, from so many rows of so many units; None where every label must be held."""

    rows: int
    units: int
    score: float | None

    @property
    def value(self) -> float:
        """The score, infinite where every label is held."""
        return math.inf if self.score is None else self.score


class TaskSets(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One task: its labels, its limit and those of its groups (None or absent: too few units, the pooled one holds),
    and where a confidence alone is given, how what is left is spread over the other labels, by predicted label."""

    labels: tuple[str, ...]
    limit: Limit | None = None
    groups: dict[str, Limit] = {}
    spread: Spread | None = None


class SetMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fitted sets. `signal` of rows of `source` is what they are made of; `fitted_on` are hashes of calibration rows,
    which may not be judged with them."""

    format: str
    coverage: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
    holds: Held
    score: Score
    signal: Signal
    source: Source
    per: Per
    penalty: tuple[float, int]
    pooled: Limit
    tasks: dict[str, TaskSets]
    fitted_on: tuple[str, ...]

    def apply(self, rows: Sequence[Prediction], *, by_labels: bool = False) -> list[Prediction]:
        """The rows, in order, with their sets; without one where the task is none that the sets were fitted on, nor,
        `by_labels`, has the labels of one. A row without a usable distribution holds every label of its task."""
        result, task_of = list(rows), [self._task_of(row, by_labels=by_labels) for row in rows]
        for task in sorted({task for task in task_of if task is not None}):
            inside = [place for place, own in enumerate(task_of) if own == task]
            held = self.held([rows[place] for place in inside], task)
            labels = self.tasks[task].labels
            for place, mask in zip(inside, held, strict=True):
                own = tuple(label for label, is_in in zip(labels, mask, strict=True) if is_in)
                result[place] = replace(
                    rows[place], prediction_set=own, set_coverage=self.coverage, set_holds=self.holds
                )
        return result

    def held(self, rows: Sequence[Prediction], task: str, *, empty: bool = False) -> Bools:
        """Which labels [n, L] of a task the sets of rows hold; with `empty`, of none where none reaches the limit."""
        own = self.tasks[task]
        shares, has_any = shares_of(rows, own.labels, self.signal, own.spread)
        found = scores(shares, uniform_of(rows), self.score, Penalty(*self.penalty))
        limits = np.array([self._limit(task, row.group).value for row in rows])
        held = found <= limits[:, None]
        full = held if empty else never_empty(held, shares)
        return np.asarray(full | ~has_any[:, None])

    def task_with(self, labels: Sequence[str]) -> str | None:
        """The task with these labels, in any order; None where none has them."""
        return next((name for name, task in self.tasks.items() if set(task.labels) == set(labels)), None)

    def _task_of(self, row: Prediction, *, by_labels: bool) -> str | None:
        """The row's task, or the one with the labels of its distribution: folders of pictures name no task."""
        if row.task in self.tasks:
            return row.task
        return self.task_with(list(row.distribution or ())) if by_labels else None

    def _limit(self, task: str, group: str) -> Limit:
        own = self.tasks[task]
        return own.groups.get(group) or own.limit or self.pooled


def shares_of(
    rows: Sequence[Prediction], labels: Sequence[str], signal: Signal, spread: Spread | None
) -> tuple[Floats, Bools]:
    """Distributions over the labels [n, L], and which rows [n] have one; the others' are even."""
    shares = np.zeros((len(rows), len(labels)))
    place = {label: column for column, label in enumerate(labels)}
    for number, row in enumerate(rows):
        if signal == "distribution":
            known: Mapping[str, float] = row.distribution or {}
        else:
            value = signal_of(row, signal)
            others = (spread or {}).get(row.predicted or "", {})
            known = {} if value is None else {str(row.predicted): value} | {
                label: (1 - value) * share for label, share in others.items()
            }  # fmt: skip
        for label, share in known.items():
            if label in place:
                shares[number, place[label]] = share
    total = shares.sum(1)
    has_any = np.asarray(total > 0)
    shares[~has_any] = 1.0
    return shares / shares.sum(1, keepdims=True), has_any


def uniform_of(rows: Sequence[Prediction]) -> Floats:
    """A number in [0, 1) for each row [n], by its task and id: the same row always has the same set."""
    keys = (hashlib.sha256(f"uniform {row.task}\0{row.id}".encode()).digest()[:8] for row in rows)
    return np.array([int.from_bytes(key) / 2**64 for key in keys])


def answers_of(row: Prediction, holds: Held) -> dict[str, float]:
    """The answers that a set should hold, with their shares, which sum to 1."""
    if holds is Held.LABEL:
        return {str(row.truth): 1.0}
    votes = {label: count for label, count in (row.votes or {}).items() if count}
    return {label: count / sum(votes.values()) for label, count in votes.items()}
