"""Prediction sets for prediction rows: "sadness or fear, 90 %". Fitted in set_fitting, stored by files.

The set of a new row contains its label, or the answer of a rater drawn at random from its votes, with probability at
least `coverage`. Calibration rows and new rows must be exchangeable: from the same source, and not used for training.
Rows of a cluster are one unit; the guarantee is for a row of a new cluster, with clusters weighted equally.

- `label`: the calibration score is that of each row's truth.
- `rater`: the calibration scores are those of all votes, weighted by their share, which averages over the rater that
  might have been drawn. A row's votes are exchangeable draws of raters, and rows are exchangeable
  (conformal.threshold). Labels play no part: rows whose votes tie have none, and leaving them out would promise too
  much on such rows.

Each task (and on request each of its groups) has its own threshold (Mondrian conformal prediction), so that coverage
holds there too. If it has too few units, the pooled threshold is used, with coverage over all rows together only.

For a row with a confidence but no distribution, the remaining probability is first spread over the other labels by how
often each was right when the predicted label was wrong.

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
from emocaliber.calibration.targets import label_shares
from emocaliber.core.predictions import Held, Prediction, Source

FORMAT = "emocaliber prediction sets 1"
Per = Literal["all", "task", "group"]
Spread = dict[str, dict[str, float]]


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The greatest score allowed in a set, fitted on `rows` rows of `units` units; None if sets must contain all
    labels."""

    rows: int
    units: int
    score: float | None

    @property
    def value(self) -> float:
        """The score; infinity if sets must contain all labels."""
        return math.inf if self.score is None else self.score


class TaskSets(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One task: its labels; its limit and those of its groups (None or absent: too few units, so the pooled limit
    applies); and, by predicted label, how to spread the probability that a confidence leaves over the other labels."""

    labels: tuple[str, ...]
    limit: Limit | None = None
    groups: dict[str, Limit] = {}
    spread: Spread | None = None


class SetMap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fitted prediction sets, built from the `signal` of rows from `source`; `fitted_on` are hashes of the calibration
    rows, on which they must not be evaluated."""

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
        """The rows, in order, with their sets. A row gets no set if its task is not among the fitted ones (nor, with
        `by_labels`, any with the same labels). A row without a usable distribution gets the set of all labels."""
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
        """Mask [n, L] of the labels in the sets of a task's rows; `empty` allows empty sets."""
        own = self.tasks[task]
        shares, has_any = shares_of(rows, own.labels, self.signal, own.spread)
        label_scores = scores(shares, uniform_of(rows), self.score, Penalty(*self.penalty))
        limits = np.array([self._limit(task, row.group).value for row in rows])
        held = label_scores <= limits[:, None]
        held = held if empty else never_empty(held, shares)
        return np.asarray(held | ~has_any[:, None])

    def task_with(self, labels: Sequence[str]) -> str | None:
        """The task with these labels, in any order; None if there is none."""
        return next((name for name, task in self.tasks.items() if set(task.labels) == set(labels)), None)

    def _task_of(self, row: Prediction, *, by_labels: bool) -> str | None:
        """The row's task or, with `by_labels`, the one with the labels of its distribution, because image folders name
        no task."""
        if row.task in self.tasks:
            return row.task
        return self.task_with(list(row.distribution or ())) if by_labels else None

    def _limit(self, task: str, group: str) -> Limit:
        own = self.tasks[task]
        return own.groups.get(group) or own.limit or self.pooled


def shares_of(
    rows: Sequence[Prediction], labels: Sequence[str], signal: Signal, spread: Spread | None
) -> tuple[Floats, Bools]:
    """Distributions over the labels [n, L], and the mask [n] of rows that have one; the others get a uniform one."""
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
    """A pseudo-random number in [0, 1) per row [n], from its task and id, so that a row always gets the same set."""
    keys = (hashlib.sha256(f"uniform {row.task}\0{row.id}".encode()).digest()[:8] for row in rows)
    return np.array([int.from_bytes(key) / 2**64 for key in keys])


def answers_of(row: Prediction, holds: Held) -> dict[str, float]:
    """The answers that a set should contain, with shares that sum to 1; empty without a label, or without votes."""
    if holds is Held.LABEL and row.truth is None:
        return {}
    return label_shares(row, "label" if holds is Held.LABEL else "votes")
