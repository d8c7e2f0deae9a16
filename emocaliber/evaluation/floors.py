"""Post-hoc floors: the Brier scores that post-hoc calibration of every available signal reaches on the same answers.

A stated confidence that scores worse than a floor says less than the model's other signals do. Every map is
cross-fitted on the same rows (`calibration.cross_fitting`): each row is scored by a map that was fitted without its
cluster, so that one set of held-out labelled rows serves for fitting and scoring. Values and paired intervals come from
the scorecard.

    floors = cross_fitted_floors(rows)
    floors.best, floors.scorecard().method("platt of the confidence").find("all")["brier"]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from msgspec.structs import replace as replace_row

from emocaliber.calibration.cross_fitting import CrossValidated, compare_confidences, cross_fitted
from emocaliber.calibration.fit import (
    ALL,
    OWN,
    Kind,
    Signal,
    has_signal,
    kinds_of,
    refuse_target,
    signals_in,
    values_of,
    with_signal,
)
from emocaliber.calibration.maps import Floats
from emocaliber.calibration.targets import DESCRIBED, Target, vote_shares, with_target
from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.evaluation.compute import DEFAULTS, build_scorecard
from emocaliber.evaluation.scorecard import Scorecard

BINS = 15
ENOUGH = 0.9
"""A signal that a smaller share of the rows has is left out, so that all floors use the same rows."""
QUESTIONS = {
    "blinded": 1, "p-true": 1, "agreement": 8, "weighted": 8, "turned": 4, "along": 3, "along-rise": 3, "relative": 8,
}  # fmt: skip
ASKED_WITH = {"weighted": "agreement", "along-rise": "along"}
"""How many additional model calls per answer a signal costs (emocaliber.generation.signals); see `questions_of`. Those
of ASKED_WITH come with the calls of another."""
RELATIVE = "relative"
MOST_RELATIVE = 16
"""Model calls per answer for "relative" where rows were compared with those of an earlier run: twice QUESTIONS."""


@dataclass(frozen=True)
class Floors:
    """The floors of one set of `rows`.

    `unmapped` holds the signals as they are and `mapped` the confidences of each floor, (n,) each, by name. `tried`
    compares each floor with the `subject`, the first of `unmapped`; the lowest Brier score comes first. `left_out`
    counts the rows that have each signal that was too rare to use. All are fitted to the `target` and compared by it.
    """

    rows: list[Prediction]
    unmapped: dict[str, Floats]
    mapped: dict[str, Floats]
    tried: list[CrossValidated]
    left_out: dict[Signal, int]
    target: Target = "label"

    @property
    def questions(self) -> dict[str, float]:
        """The number of model calls per answer that each floor costs, by its name."""
        return {floor_name(result.signal, result.kind): questions_of(result.signal, self.rows) for result in self.tried}

    @property
    def subject(self) -> str:
        """The name of the signal that all floors are compared with."""
        return next(iter(self.unmapped))

    @property
    def best(self) -> CrossValidated:
        """The floor with the lowest cross-fitted Brier score."""
        return self.tried[0]

    @property
    def fitted_to(self) -> str:
        """The target as messages name it."""
        return DESCRIBED[self.target]

    def scorecard(self, replicates: int = DEFAULTS.replicates) -> Scorecard:
        """Every floor and every unmapped signal, with paired differences to the subject. If the target is the votes, a
        row without a label is scored with the raters' favourite (of equals the first), which agreement ignores."""
        methods = {name: self._with(values, name) for name, values in (self.unmapped | self.mapped).items()}
        settings = replace(DEFAULTS, bins=BINS, replicates=replicates)
        return build_scorecard(methods, settings=settings, subject=self.subject)

    def _with(self, confidences: Floats, name: str) -> list[Prediction]:
        return [
            replace_row(
                row,
                method=name,
                id=f"{row.method}/{row.task}/{row.id}",
                truth=row.truth if self.target == "label" else row.truth or _favourite(row),
                confidence=None if np.isnan(value) else float(value),
                state=State.MISSING_CONFIDENCE if np.isnan(value) else State.OK,
                source=Source.POSTHOC,
                distribution=None,
            )
            for row, value in zip(self.rows, confidences.tolist(), strict=True)
        ]


def questions_of(signal: Signal, rows: Sequence[Prediction]) -> float:
    """The mean number of model calls per answer that a signal of these rows costs, the answer itself included.

    "per-candidate" adds one per candidate and "pairwise" one per other candidate; "signals" adds up all that the rows
    have. "relative" adds what the rows' own `questions` leave for it, at most MOST_RELATIVE: it depends on which rows
    there were to compare with.
    """
    candidates = float(np.mean([len(row.distribution or {}) or 1 for row in rows]))
    costs = QUESTIONS | {"per-candidate": candidates, "pairwise": candidates - 1}
    known = {ASKED_WITH.get(name, name) for row in rows for name in row.signals or {}}
    recorded = [row.questions for row in rows if row.questions is not None]
    if RELATIVE in known and recorded:
        others = 1 + sum(costs.get(name, 0) for name in known - {RELATIVE})
        costs[RELATIVE] = float(np.clip(np.mean(recorded) - others, 0, MOST_RELATIVE))
    return 1 + (sum(costs.get(name, 0) for name in known) if signal == ALL else costs.get(signal, 0))


def floor_name(signal: Signal, kind: Kind | None = None) -> str:
    """The name of a floor, such as "platt of the confidence" or "all signals together"; without `kind`, of a signal."""
    if kind is None:
        return f"the {signal} as it is"
    if kind == "probe":
        return "probe of the hidden state"
    if kind == "signals":
        return "all signals together" if signal == "signals" else f"{signal}, logistic"
    return f"{kind} of the {signal}"


def cross_fitted_floors(
    rows: Sequence[Prediction],
    signal: Signal | None = None,
    kind: Kind | None = None,
    *,
    per_task: bool = True,
    target: Target = "label",
    on_progress: Callable[[str], None] = lambda _: None,
) -> Floors:
    """Cross-fit every kind of map of every signal in the rows that have the target; or only of one `signal`, or of one
    `kind`.

    Raises ValueError if no row has the signal or the target, the kind does not apply to any signal or not to the
    target, or all rows are in one cluster.
    """
    if kind is not None:
        refuse_target(kind, target)
    labelled = [row for row in with_target(rows, target) if row.predicted is not None]
    candidates = [signal] if signal else signals_in(labelled)
    counts = {name: sum(has_signal(row, name) for row in labelled) for name in candidates}
    signals = [name for name, count in counts.items() if signal or count >= ENOUGH * len(labelled)]
    signals = [name for name in signals if kind is None or kind in kinds_of(name)]
    if not signals:
        raise ValueError(_no_floor_message(counts, kind, len(labelled)))
    usable = [row for row in with_signal(labelled, signals[0]) if all(has_signal(row, name) for name in signals)]
    probabilities = [name for name in OWN if name in signals] or ["confidence"]
    unmapped = {floor_name(name): values_of(usable, name) for name in probabilities}
    before, mapped, tried = next(iter(unmapped.values())), {}, []
    for name in signals:
        for kind_of_map in [kind] if kind else _kinds(name, unmapped, target):
            on_progress(f"cross-fitting {floor_name(name, kind_of_map)}")
            values = cross_fitted(usable, name, kind_of_map, per_task=per_task, target=target)
            mapped[floor_name(name, kind_of_map)] = values
            tried.append(compare_confidences(before, values, usable, name, kind_of_map, target))
    left_out = {name: count for name, count in counts.items() if name not in signals}
    return Floors(usable, unmapped, mapped, sorted(tried, key=lambda result: result.after), left_out, target)


def _favourite(row: Prediction) -> str:
    shares = vote_shares(row)
    return max(shares, key=shares.__getitem__)


def _kinds(signal: Signal, unmapped: dict[str, Floats], target: Target) -> tuple[Kind, ...]:
    """The kinds of map of a signal, without those that would repeat another signal's because the values are equal."""
    names = list(unmapped)
    earlier = names[: names.index(floor_name(signal))] if floor_name(signal) in names else []
    if any(np.allclose(unmapped[floor_name(signal)], unmapped[name], atol=1e-6) for name in earlier):
        return ("temperature", "matrix") if signal == "distribution" else ()
    return kinds_of(signal, target)


def _no_floor_message(counts_by_signal: dict[Signal, int], kind: Kind | None, rows: int) -> str:
    if kind is not None and counts_by_signal:
        return f"there is no {kind} map of {', '.join(counts_by_signal)}"
    counts = ", ".join(f"{name} {count}" for name, count in counts_by_signal.items()) or "none"
    return f"no signal is present in {ENOUGH:.0%} of the {rows} rows with a label ({counts})"
