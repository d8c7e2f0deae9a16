"""Prediction: the one row that every method writes and every judge reads.

Not a metric: evaluation reads these rows and nothing else. Its JSON Lines file is in prediction_files, its columns
for a million rows in prediction_table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Why a row has, or lacks, a label and a confidence."""

    OK = "ok"
    MISSING_LABEL = "missing label"
    UNKNOWN_LABEL = "unknown label"
    AMBIGUOUS_LABEL = "ambiguous label"
    MISSING_CONFIDENCE = "missing confidence"
    NOT_A_NUMBER = "not a number"
    OUT_OF_RANGE = "out of range"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    ENGINE_ERROR = "engine error"
    IMAGE_ERROR = "image error"


class Source(StrEnum):
    """Where a confidence comes from."""

    VERBALIZED = "verbalized"
    EXPECTED = "expected"
    LOGPROB = "logprob"
    SAMPLED = "sampled"
    DIRICHLET = "dirichlet"
    POSTHOC = "posthoc"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True)
class Prediction:
    """One row per sample.

    `truth` is the dominant label, `votes` the rater counts per label; `predicted` is None where no label could be
    read, and `confidence`, in [0, 1], is None where none could be read; `state` says why. `probability` is the
    label's token probability where the engine gave one. `method` names who made the row, `cluster` what is resampled
    together.
    """

    id: str
    task: str
    group: str
    cluster: str
    truth: str
    predicted: str | None
    confidence: float | None
    state: State
    source: Source
    method: str
    votes: dict[str, int] | None = None
    distribution: dict[str, float] | None = None
    probability: float | None = None
