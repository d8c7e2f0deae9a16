"""RunSummary: the results of a three-stage run, as JSON, from which its report is made.

`emocaliber run` fills it, `run_report` renders it. Reference methods and post-hoc maps are methods of the scorecard;
`roles` says which method plays which role.

    emocaliber run recipes/tiny --out out      writes out/report/report.json
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction
from emocaliber.evaluation.scorecard import Aggregation, Estimate, Scorecard, SubsetKind
from emocaliber.evaluation.verbalization import Step

Curve = list[tuple[int, float]]
"""(optimizer step, value), steps ascending."""


@dataclass(frozen=True, slots=True)
class Focus:
    """The subset of rows that the opening and the key figure are about, as named in the scorecard."""

    kind: SubsetKind = "all"
    name: str = "all"
    aggregation: Aggregation = "pooled"


@dataclass(frozen=True, slots=True)
class Roles:
    """Names of methods in the scorecard; None if the run has no such method.

    `verbalized`, stage 3's confidence as read from its text, is the report's subject. `expected` is the mean over its
    confidence tokens, `probability` its label probability, and `posthoc` are the maps fitted on the latter. The
    constant needs no role.
    """

    verbalized: str
    stage_1: str | None = None
    stage_2: str | None = None
    expected: str | None = None
    probability: str | None = None
    posthoc: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class StageLog:
    """One trained stage.

    `recipe` holds its keys and values as text; `data` describes its training data. `n_held_out` is the number of
    samples that the step was selected on; `seconds` is wall time; `sha256` is the adapter's. `curves` maps a printed
    name ("loss", "held-out Brier") to its values. `selected_step` is the step whose adapter was kept, 0 if the stage
    was left out, and `verdict` says why, with the values on the held-out rows.
    """

    name: str
    data: str
    n_train: int
    n_held_out: int
    steps: int
    seconds: float
    trained_parameters: int
    sha256: str
    recipe: dict[str, str]
    curves: dict[str, Curve] = field(default_factory=dict)
    selected_step: int | None = None
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """An answered image: `image` is the file (PNG, JPEG or WebP) in base64, `response` the model's text."""

    kind: Literal["confident mistake", "doubtful hit"]
    id: str
    task: str
    group: str
    truth: str
    predicted: str
    confidence: float
    response: str
    image: str


@dataclass(frozen=True, slots=True)
class Criterion:
    """An acceptance criterion and its outcome: `required` in words ("at most 0.05"), `measured` with its interval."""

    name: str
    required: str
    measured: Estimate
    met: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run. `provenance` maps names (version of a library, hash of a file, machine, command) to values.

    `verbalization` are the steps from the best post-hoc map to the stated confidence, on the rows in focus.
    `baselines`, if any were trained, is a scorecard of the run's methods together with them, on the same rows.
    """

    title: str
    scorecard: Scorecard
    roles: Roles
    stages: list[StageLog]
    examples: list[Example]
    criteria: list[Criterion]
    provenance: dict[str, str]
    focus: Focus = field(default_factory=Focus)
    notes: list[str] = field(default_factory=list)
    verbalization: list[Step] = field(default_factory=list)
    baselines: Scorecard | None = None

    def to_json(self) -> str:
        """Strict JSON (no NaN), without the scorecards, which are in files of their own."""
        content = asdict(self)
        del content["scorecard"], content["baselines"]
        return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def read_run_summary(folder: Path) -> RunSummary:
    """The summary of a run, from report.json and scorecard.json, without the baselines.

    Raises UserError naming the file if it is missing or invalid.
    """
    for name in ("report.json", "scorecard.json"):
        if not (folder / name).is_file():
            raise UserError(f"{folder / name}: there is no such file; give the folder of a finished `emocaliber run`")
    try:
        card = msgspec.json.decode((folder / "scorecard.json").read_bytes(), type=Scorecard)
        content = msgspec.json.decode((folder / "report.json").read_bytes(), type=dict[str, Any])
        return msgspec.convert(content | {"scorecard": card}, type=RunSummary)
    except msgspec.DecodeError as problem:
        raise UserError(f"{folder}: report.json or scorecard.json cannot be read ({problem}); run it again") from None


def choose_examples(
    rows: Iterable[Prediction], image: Callable[[str], bytes], response: Callable[[str], str], each: int = 8
) -> list[Example]:
    """The `each` wrong answers with the highest confidence and the `each` correct ones with the lowest; ties by id.

    Only one is taken from each cluster (drawings of the same emoji, say), for variety. `image` and `response` return a
    sample's encoded image and the model's text by id.
    """
    usable = [row for row in rows if row.predicted is not None and row.confidence is not None]
    wrong = [row for row in usable if row.predicted != row.truth]
    right = [row for row in usable if row.predicted == row.truth]
    wrong.sort(key=lambda row: (-_confidence(row), row.id))
    right.sort(key=lambda row: (_confidence(row), row.id))
    chosen: list[tuple[Literal["confident mistake", "doubtful hit"], Prediction]] = []
    chosen += [("confident mistake", row) for row in _first_of_each_cluster(wrong)[:each]]
    chosen += [("doubtful hit", row) for row in _first_of_each_cluster(right)[:each]]
    return [
        Example(
            kind,
            row.id,
            row.task,
            row.group,
            str(row.truth),
            str(row.predicted),
            _confidence(row),
            response(row.id),
            base64.b64encode(image(row.id)).decode("ascii"),
        )
        for kind, row in chosen
    ]


def _first_of_each_cluster(rows: list[Prediction]) -> list[Prediction]:
    first: dict[str, Prediction] = {}
    for row in rows:
        first.setdefault(row.cluster, row)
    return list(first.values())


def _confidence(row: Prediction) -> float:
    assert row.confidence is not None
    return row.confidence
