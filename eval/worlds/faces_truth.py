"""The ground truth of schematic faces: p(label | face), and the best possible accuracy, confidence and Brier score.

For metrics of predictions see emocaliber.evaluation; the regret here needs true probabilities, which only these faces
have.

    python -c "from eval.worlds.faces_truth import *; print(FaceTruth('1', {'happy': .7, 'sad': .3}).brier())"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Prediction, State, decode_lines


@dataclass(frozen=True)
class FaceTruth:
    """`shares` maps every label to p(label | face); they sum to 1."""

    id: str
    shares: Mapping[str, float]

    @property
    def label(self) -> str:
        """The likeliest label: what the Bayes-optimal predictor answers."""
        return max(self.shares, key=lambda label: self.shares[label])

    def accuracy(self, label: str | None = None) -> float:
        """The probability that an answer is right, by default the best one; also the best confidence to state."""
        return self.shares[self.label if label is None else label]

    def brier(self, label: str | None = None) -> float:
        """The least expected Brier score of the confidence in an answer, p(1 - p); by default of the best answer."""
        return self.accuracy(label) * (1 - self.accuracy(label))


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    shares: dict[str, Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]]


@dataclass(frozen=True)
class Regret:
    """Means over rows, without the chance of single labels.

    `bayes_accuracy`: of the likeliest labels. `accuracy`: of the answers given. `own_brier`: the least Brier score that
    these answers allow. `brier`: what is expected of the confidences stated. `regret` = brier - own_brier, the mean of
    (c - p)², not below 0. A row without an answer or a confidence has accuracy 0, Brier 1 and regret 1.
    """

    rows: int
    bayes_accuracy: float
    accuracy: float
    bayes_brier: float
    own_brier: float
    brier: float
    regret: float


def regret(rows: Sequence[Prediction], truths: Mapping[str, FaceTruth]) -> Regret:
    """Hold predictions against the truth. Raises ValueError for no rows, or a row whose truth is not known."""
    if not rows:
        raise ValueError("no rows: the regret of nothing is undefined")
    if unknown := next((row.id for row in rows if row.id not in truths), None):
        raise ValueError(f"the truth of {unknown!r} is not known; give the truths written beside its faces")
    judged = [_judged(row, truths[row.id]) for row in rows]
    means = [sum(column) / len(rows) for column in zip(*judged, strict=True)]
    return Regret(len(rows), *means)


def _judged(row: Prediction, truth: FaceTruth) -> tuple[float, float, float, float, float, float]:
    best = (truth.accuracy(), truth.brier())
    if row.state is not State.OK or row.predicted is None or row.confidence is None:
        return best[0], 0.0, best[1], 0.0, 1.0, 1.0
    p, least = truth.accuracy(row.predicted), truth.brier(row.predicted)
    off = (row.confidence - p) ** 2
    return best[0], p, best[1], least, least + off, off


def truth_path(samples: Path) -> Path:
    """The file of truths beside a file of samples."""
    return samples.with_suffix(".truth.jsonl")


def write_truths(path: Path, truths: Sequence[FaceTruth]) -> None:
    """One JSON object a line, whole or not at all."""
    write_atomically(
        path, (msgspec.json.encode({"id": truth.id, "shares": dict(truth.shares)}) + b"\n" for truth in truths)
    )


def read_truths(path: Path) -> dict[str, FaceTruth]:
    """By id. Raises UserError naming file, line and key."""
    truths_by_id: dict[str, FaceTruth] = {}
    for number, line in decode_lines(path, _Line):
        if abs(sum(line.shares.values()) - 1) > 1e-6 or line.id in truths_by_id:
            raise UserError(f"{path}, line {number}: shares of {line.id!r} must sum to 1 and stand once; write it anew")
        truths_by_id[line.id] = FaceTruth(line.id, line.shares)
    return truths_by_id
