"""Fitting prediction sets on calibration rows: thresholds by task and group, and the parameters tuned before them.

Parameters (how the remaining probability is spread over the other labels, and the raps penalty) are tuned on a share
TUNING of the units, which are then excluded from the thresholds, so that the coverage guarantee stays exact.

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
"""The units that a task or a group needs for its own threshold."""
TUNING = 1 / 3
"""The share of units that a spread or a penalty is tuned on."""
WEIGHTS = (0.001, 0.01, 0.1, 0.2, 0.5)
"""Candidate weights of the raps penalty; as in the paper, the one with the smallest sets is chosen."""


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
    """Fit on calibration rows; also returns notes for the user. `hashes` identify the rows
    (calibration.files.row_hash).

    For the label, rows without one are not used; for a rater's answer, rows without votes, and no row needs a label.
    `signal` defaults to the distribution, or to the confidence if no row has a distribution. Raises ValueError if no
    row can be used, or if the rows have several sources.
    """
    signal = signal or ("distribution" if any(row.distribution for row in rows) else "confidence")
    usable = [row for row in rows if signal_of(row, signal) is not None and answers_of(row, holds)]
    if not usable:
        needed = f"a {signal} and {'a label' if holds is Held.LABEL else 'votes'}"
        raise ValueError(f"no row has {needed} to fit sets on")
    if len(sources := {row.source for row in rows}) > 1:
        raise ValueError(f"the rows have several sources of confidence ({', '.join(sorted(sources))}); give one source")
    notes = [f"{len(rows) - len(usable):,} of {len(rows):,} rows cannot be used"] if len(usable) < len(rows) else []
    labels = {task: _labels_of([row for row in rows if row.task == task]) for task in sorted({r.task for r in usable})}
    tuning, fresh = _split_for_tuning(usable) if signal != "distribution" or score == "raps" else ([], usable)
    spreads = {
        task: None if signal == "distribution" else _spread([row for row in tuning if row.task == task], names, holds)
        for task, names in labels.items()
    }
    tasks = {task: TaskSets(names, spread=spreads[task]) for task, names in labels.items()}
    penalty = _penalty(tuning, tasks, signal, holds, coverage) if score == "raps" else NO_PENALTY
    answers = {task: _Answers.collect(fresh, task, own, signal, holds, score, penalty) for task, own in tasks.items()}
    pooled = _Answers.concatenate(list(answers.values()))
    if per != "all":
        tasks = {task: _with_limits(own, answers[task], coverage, per, notes, task) for task, own in tasks.items()}
    limit = pooled.limit(coverage)
    if limit.score is None:
        notes.append(f"{limit.units} units are too few for a coverage of {coverage:g}: every set contains all labels")
    fitted = SetMap(
        FORMAT, coverage, holds, score, signal, usable[0].source, per, (penalty.weight, penalty.rank), limit, tasks,
        tuple(sorted(set(hashes))),
    )  # fmt: skip
    return fitted, notes


@dataclass(frozen=True)
class _Answers:
    """The m calibration answers of some rows: their scores, `score` [m]; the number of their row and its unit, [m]
    each; their `weight` within the row [m]; and their row's group [m]."""

    score: Floats
    row: npt.NDArray[np.int64]
    unit: list[str]
    weight: Floats
    group: list[str]

    @classmethod
    def collect(
        cls,
        rows: Sequence[Prediction],
        task: str,
        own: TaskSets,
        signal: Signal,
        holds: Held,
        kind: Score,
        penalty: Penalty,
    ) -> _Answers:
        """The calibration answers of a task's rows."""
        rows_of_task = [row for row in rows if row.task == task]
        shares, _ = shares_of(rows_of_task, own.labels, signal, own.spread)
        label_scores = scores(shares, uniform_of(rows_of_task), kind, penalty)
        answer_scores, number, unit, weight, group = [], [], [], [], []
        for place, row in enumerate(rows_of_task):
            for label, share in answers_of(row, holds).items():
                answer_scores.append(label_scores[place, own.labels.index(label)])
                number.append(place)
                unit.append(f"{row.cluster or row.id}")
                weight.append(share)
                group.append(row.group)
        return cls(np.array(answer_scores), np.array(number, np.int64), unit, np.array(weight), group)

    @classmethod
    def concatenate(cls, parts: Sequence[_Answers]) -> _Answers:
        """The answers of several tasks together."""
        starts = np.cumsum([0, *(part.row.max(initial=-1) + 1 for part in parts[:-1])])
        return cls(
            np.concatenate([part.score for part in parts]),
            np.concatenate([part.row + start for part, start in zip(parts, starts, strict=True)]),
            [unit for part in parts for unit in part.unit],
            np.concatenate([part.weight for part in parts]),
            [group for part in parts for group in part.group],
        )

    def of_group(self, group: str) -> _Answers:
        """The answers of one group."""
        mask = np.array([name == group for name in self.group], bool)
        units = [unit for unit, is_in in zip(self.unit, mask, strict=True) if is_in]
        return _Answers(self.score[mask], self.row[mask], units, self.weight[mask], [group] * len(units))

    def limit(self, coverage: float) -> Limit:
        """The limit with the nominal coverage, with equal weights for units and for rows within a unit."""
        _, unit = np.unique(np.array(self.unit, dtype=object).astype(str), return_inverse=True)
        units = int(unit.max(initial=-1)) + 1
        rows = np.bincount(unit, self.weight, units)
        score = threshold(self.score, self.weight / rows[unit], coverage, units)
        return Limit(len(np.unique(self.row)), units, None if math.isinf(score) else score)


def _with_limits(own: TaskSets, answers: _Answers, coverage: float, per: Per, notes: list[str], task: str) -> TaskSets:
    """The task with its own limit and those of its groups; those with too few units are noted and keep none."""
    limit = answers.limit(coverage)
    if limit.units < FEWEST:
        notes.append(f"task {task!r}: {limit.units} units, fewer than {FEWEST}, so it uses the pooled threshold")
        return own
    groups: dict[str, Limit] = {}
    for group in sorted(set(answers.group)) if per == "group" else []:
        within = answers.of_group(group).limit(coverage)
        if within.units >= FEWEST:
            groups[group] = within
        else:
            notes.append(
                f"task {task!r}, group {group!r}: {within.units} units, fewer than {FEWEST}, so it uses the task's"
                " threshold"
            )
    return replace(own, limit=limit, groups=groups)


def _labels_of(rows: Sequence[Prediction]) -> tuple[str, ...]:
    """Every label that occurs in a task's rows, starting in the order of the first distribution."""
    named: dict[str, None] = {}
    for row in rows:
        named |= dict.fromkeys(row.distribution or ()) | dict.fromkeys(row.votes or ())
        named |= dict.fromkeys(label for label in (row.truth, row.predicted) if label is not None)
    return tuple(named)


def _split_for_tuning(rows: Sequence[Prediction]) -> tuple[list[Prediction], list[Prediction]]:
    """The rows of a random share TUNING of the units, and the other rows."""
    units = sorted({row.cluster or row.id for row in rows})
    drawn = np.random.default_rng(0).permutation(len(units))[: round(TUNING * len(units))]
    tuning_units = {units[place] for place in drawn}
    tuning = [row for row in rows if (row.cluster or row.id) in tuning_units]
    return tuning, [row for row in rows if (row.cluster or row.id) not in tuning_units]


def _spread(rows: Sequence[Prediction], labels: Sequence[str], holds: Held) -> Spread:
    """For each predicted label, the distribution of the right answer over the other labels when the prediction is
    wrong, smoothed towards that of all rows."""
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
    """The raps penalty: its `rank` is the `coverage` quantile of the answers' ranks, and its weight the one in WEIGHTS
    with the smallest sets (Angelopoulos et al. 2021, appendix E)."""
    rows_of = {task: own for task in tasks if (own := [row for row in rows if row.task == task])}
    ranks = []
    for task, own in rows_of.items():
        names = tasks[task].labels
        shares, _ = shares_of(own, names, signal, tasks[task].spread)
        for row, distribution in zip(own, shares, strict=True):
            ranks += [
                1 + int((distribution > distribution[names.index(label)]).sum()) for label in answers_of(row, holds)
            ]
    rank = int(np.quantile(ranks, coverage, method="higher"))

    def mean_size(penalty: Penalty) -> float:
        answers = [
            _Answers.collect(own, task, tasks[task], signal, holds, "raps", penalty) for task, own in rows_of.items()
        ]
        limit = _Answers.concatenate(answers).limit(coverage).value
        sizes = []
        for task, own in rows_of.items():
            shares, _ = shares_of(own, tasks[task].labels, signal, tasks[task].spread)
            sizes.append((scores(shares, uniform_of(own), "raps", penalty) <= limit).sum(1))
        return float(np.concatenate(sizes).mean())

    return min((Penalty(weight, rank) for weight in WEIGHTS), key=mean_size)
