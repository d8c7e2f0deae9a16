"""Fitting prediction sets on calibration rows: thresholds by task and group, and what has to be learned before them.

What a set needs learned (how a confidence is spread over the other labels, the penalty of raps) is learned on TUNING of
the units, which then set no threshold, so that the promise stays exact.

    fitted, notes = fit_sets(rows, hashes, coverage=0.9)
    fitted.apply(new_rows)[0].prediction_set
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from emocaliber.calibration.conformal import NO_PENALTY, Floats, Penalty, Score, scores, threshold
from emocaliber.calibration.fit import Signal, signal_of
from emocaliber.calibration.sets import (
    FORMAT,
    Limit,
    Per,
    SetMap,
    Spread,
    TaskSets,
    answers_of,
    shares_of,
    uniform_of,
)
from emocaliber.core.predictions import Held, Prediction

FEWEST = 50
"""Units of a task or a group for a threshold of its own."""
TUNING = 1 / 3
"""The share of units that a spread or a penalty is learned from."""
WEIGHTS = (0.001, 0.01, 0.1, 0.2, 0.5)
"""Of raps' penalty; the one of the smallest sets is taken, as its authors do."""


def fit_sets(
    rows: Sequence[Prediction],
    hashes: Sequence[str],
    *,
    coverage: float,
    holds: Held = Held.LABEL,
    score: Score = "lac",
    signal: Signal | None = None,
    per: Per = "task",
) -> tuple[SetMap, list[str]]:
    """Fit on calibration rows whose hashes are given (calibration.files.row_hash), and notes on what is to be known.

    `signal` is by default the distribution, or the confidence where no row has one. Raises ValueError where no row can
    be used, or rows are of several sources.
    """
    signal = signal or ("distribution" if any(row.distribution for row in rows) else "confidence")
    usable = [row for row in rows if signal_of(row, signal) is not None and (holds is Held.LABEL or row.votes)]
    if not usable:
        wanted = f"a {signal}" if holds is Held.LABEL else f"a {signal} and votes"
        raise ValueError(f"no row has {wanted} to fit sets on")
    if len(sources := {row.source for row in rows}) > 1:
        raise ValueError(f"the rows are of several read-outs ({', '.join(sorted(sources))}); give those of one")
    notes = [f"{len(rows) - len(usable):,} of {len(rows):,} rows cannot be used"] if len(usable) < len(rows) else []
    labels = {task: _labels_of([row for row in rows if row.task == task]) for task in sorted({r.task for r in usable})}
    tuning, fresh = _parted(usable) if signal != "distribution" or score == "raps" else ([], usable)
    spreads = {
        task: None if signal == "distribution" else _spread([row for row in tuning if row.task == task], names, holds)
        for task, names in labels.items()
    }
    tasks = {task: TaskSets(names, spread=spreads[task]) for task, names in labels.items()}
    penalty = _penalty(tuning, tasks, signal, holds, coverage) if score == "raps" else NO_PENALTY
    answers = {task: _Answers.of(fresh, task, own, signal, holds, score, penalty) for task, own in tasks.items()}
    pooled = _Answers.joined(list(answers.values()))
    if per != "all":
        tasks = {task: _with_limits(own, answers[task], coverage, per, notes, task) for task, own in tasks.items()}
    limit = pooled.limit(coverage)
    if limit.score is None:
        notes.append(f"{limit.units} units are too few to promise {coverage:g}: every set holds all labels")
    fitted = SetMap(
        FORMAT, coverage, holds, score, signal, usable[0].source, per, (penalty.weight, penalty.rank), limit, tasks,
        tuple(sorted(set(hashes))),
    )  # fmt: skip
    return fitted, notes


@dataclass(frozen=True)
class _Answers:
    """Scores [m] of answers, with the row [m] and unit [m] that each is of, its weight within the row [m], and each
    row's group."""

    found: Floats
    row: npt.NDArray[np.int64]
    unit: list[str]
    weight: Floats
    group: list[str]

    @classmethod
    def of(
        cls,
        rows: Sequence[Prediction],
        task: str,
        own: TaskSets,
        signal: Signal,
        holds: Held,
        kind: Score,
        penalty: Penalty,
    ) -> _Answers:
        """The answers of a task's rows."""
        inside = [row for row in rows if row.task == task]
        shares, _ = shares_of(inside, own.labels, signal, own.spread)
        every = scores(shares, uniform_of(inside), kind, penalty)
        found, number, unit, weight, group = [], [], [], [], []
        for place, row in enumerate(inside):
            for label, share in answers_of(row, holds).items():
                found.append(every[place, own.labels.index(label)])
                number.append(place)
                unit.append(f"{row.cluster or row.id}")
                weight.append(share)
                group.append(row.group)
        return cls(np.array(found), np.array(number, np.int64), unit, np.array(weight), group)

    @classmethod
    def joined(cls, parts: Sequence[_Answers]) -> _Answers:
        """Those of all tasks."""
        starts = np.cumsum([0, *(part.row.max(initial=-1) + 1 for part in parts[:-1])])
        return cls(
            np.concatenate([part.found for part in parts]),
            np.concatenate([part.row + start for part, start in zip(parts, starts, strict=True)]),
            [unit for part in parts for unit in part.unit],
            np.concatenate([part.weight for part in parts]),
            [group for part in parts for group in part.group],
        )

    def inside(self, group: str) -> _Answers:
        """Those of one group."""
        mask = np.array([name == group for name in self.group], bool)
        units = [unit for unit, is_in in zip(self.unit, mask, strict=True) if is_in]
        return _Answers(self.found[mask], self.row[mask], units, self.weight[mask], [group] * len(units))

    def limit(self, coverage: float) -> Limit:
        """The limit that keeps the promise, every unit alike and every row of a unit alike."""
        _, unit = np.unique(np.array(self.unit, dtype=object).astype(str), return_inverse=True)
        units = int(unit.max(initial=-1)) + 1
        rows = np.bincount(unit, self.weight, units)
        at = threshold(self.found, self.weight / rows[unit], coverage, units)
        return Limit(len(np.unique(self.row)), units, None if math.isinf(at) else at)


def _with_limits(own: TaskSets, answers: _Answers, coverage: float, per: Per, notes: list[str], task: str) -> TaskSets:
    """The task with its limit, and those of its groups; what is too small is noted."""
    limit = answers.limit(coverage)
    if limit.units < FEWEST:
        notes.append(f"task {task!r}: {limit.units} units, fewer than {FEWEST}, so it takes the pooled threshold")
        return own
    groups: dict[str, Limit] = {}
    for group in sorted(set(answers.group)) if per == "group" else []:
        within = answers.inside(group).limit(coverage)
        if within.units >= FEWEST:
            groups[group] = within
        else:
            notes.append(
                f"task {task!r}, group {group!r}: {within.units} units, fewer than {FEWEST}, so it takes the task's"
                " threshold"
            )
    return replace(own, limit=limit, groups=groups)


def _labels_of(rows: Sequence[Prediction]) -> tuple[str, ...]:
    """Every label that a task's rows name, the order of the first distribution first."""
    named: dict[str, None] = {}
    for row in rows:
        named |= dict.fromkeys(row.distribution or ()) | dict.fromkeys(row.votes or ())
        named |= dict.fromkeys(label for label in (row.truth, row.predicted) if label is not None)
    return tuple(named)


def _parted(rows: Sequence[Prediction]) -> tuple[list[Prediction], list[Prediction]]:
    """TUNING of the units, and the rest."""
    units = sorted({row.cluster or row.id for row in rows})
    drawn = np.random.default_rng(0).permutation(len(units))[: round(TUNING * len(units))]
    chosen = {units[place] for place in drawn}
    tuning = [row for row in rows if (row.cluster or row.id) in chosen]
    return tuning, [row for row in rows if (row.cluster or row.id) not in chosen]


def _spread(rows: Sequence[Prediction], labels: Sequence[str], holds: Held) -> Spread:
    """For each predicted label, the shares of the others as answers where it is none; smoothed by those of all rows."""
    wrong: dict[str, defaultdict[str, float]] = {label: defaultdict(float) for label in labels}
    for row in rows:
        for label, share in answers_of(row, holds).items():
            if label != row.predicted:
                wrong[str(row.predicted)][label] += share
    overall = {label: sum(counts[label] for counts in wrong.values()) + 1 / len(labels) for label in labels}
    spread: Spread = {}
    for predicted, counts in wrong.items():
        prior = {label: share for label, share in overall.items() if label != predicted}
        total, sure = sum(prior.values()), sum(counts.values()) + 1
        spread[predicted] = {label: (counts[label] + share / total) / sure for label, share in prior.items()}
    return spread


def _penalty(
    rows: Sequence[Prediction], tasks: Mapping[str, TaskSets], signal: Signal, holds: Held, coverage: float
) -> Penalty:
    """The penalty of the smallest sets: beyond the rank that a share `coverage` of answers keep, by the best of
    WEIGHTS (Angelopoulos et al. 2021, appendix E)."""
    made = [(task, [row for row in rows if row.task == task]) for task in tasks]
    made = [(task, own) for task, own in made if own]
    ranks = []
    for task, own in made:
        names = tasks[task].labels
        shares, _ = shares_of(own, names, signal, tasks[task].spread)
        for row, mine in zip(own, shares, strict=True):
            ranks += [1 + int((mine > mine[names.index(label)]).sum()) for label in answers_of(row, holds)]
    rank = int(np.quantile(ranks, coverage, method="higher"))

    def mean_size(penalty: Penalty) -> float:
        answers = [_Answers.of(own, task, tasks[task], signal, holds, "raps", penalty) for task, own in made]
        limit = _Answers.joined(answers).limit(coverage).value
        sizes = []
        for task, own in made:
            shares, _ = shares_of(own, tasks[task].labels, signal, tasks[task].spread)
            sizes.append((scores(shares, uniform_of(own), "raps", penalty) <= limit).sum(1))
        return float(np.concatenate(sizes).mean())

    return min((Penalty(weight, rank) for weight in WEIGHTS), key=mean_size)
