"""Prediction sets for files of predictions: fit them on calibration rows, apply them to other rows, and say what they
came to.

emocaliber recalibrate fit calibration.jsonl --map sets --coverage 0.9 --out sets.json
emocaliber recalibrate apply sets.json test.jsonl --out with-sets.jsonl
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from emocaliber.calibration.conformal import Score
from emocaliber.calibration.files import read_sets, write_sets
from emocaliber.calibration.fit import Signal
from emocaliber.calibration.set_fitting import fit_sets
from emocaliber.calibration.sets import Per, SetMap
from emocaliber.core.errors import UserError
from emocaliber.core.prediction_table import split_by_method
from emocaliber.core.predictions import Held
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.reading.tables import RECOGNISED, Columns
from emocaliber.runs.recalibration import RowsFile


@dataclass(frozen=True)
class AppliedSets:
    """What sets came to: the sets, how many of the rows have none, of which tasks, and the labelled rows' scorecard."""

    sets: SetMap
    rows: int
    without: int
    unknown_tasks: list[str]
    card: Scorecard | None


def fit_sets_file(
    calibration: Sequence[Path],
    out: Path,
    *,
    coverage: float,
    holds: Held,
    score: Score,
    signal: Signal | None,
    per: Per,
    columns: Columns = RECOGNISED,
) -> tuple[SetMap, list[str]]:
    """Fit prediction sets on all rows of these files and write them; returns the sets and notes. For sets that hold a
    rater's answer, rows need no label, and those without votes are left out. Raises UserError if no row is suitable
    for the fit."""
    if not 0 < coverage < 1:
        raise UserError(f"--coverage {coverage:g}: give a share between 0 and 1, such as 0.9")
    files, left_out = _calibration_files(calibration, holds, columns)
    rows = [row for file in files for row in file.rows]
    try:
        fitted, notes = fit_sets(
            rows,
            [mark for file in files for mark in file.hashes],
            coverage=coverage,
            holds=holds,
            score=score,
            signal=signal,
            per=per,
        )
    except ValueError as error:
        raise UserError(f"{', '.join(map(str, calibration))}: {error}") from None
    write_sets(out, fitted)
    return fitted, left_out + notes


def _calibration_files(paths: Sequence[Path], holds: Held, columns: Columns) -> tuple[list[RowsFile], list[str]]:
    """The files with the rows that have an answer to hold, and a note on those that were left out. Raises UserError if
    no row has one."""
    files = [RowsFile.read(path, columns, unlabelled=holds is Held.RATER) for path in paths]
    if holds is Held.LABEL:
        return files, []
    rated = [file.with_target("votes") for file in files]
    every, kept = (sum(len(file.rows) for file in some) for some in (files, rated))
    if every and not kept:
        raise UserError(
            f"{', '.join(map(str, paths))}: none of the {every:,} rows has raters' 'votes', which --holds rater needs;"
            " prediction files of samples with votes have them. Without votes, use --holds label"
        )
    return rated, [f"{every - kept:,} of {every:,} rows have no votes and were left out"] if kept < every else []


def apply_sets_file(path: Path, predictions: Path, out: Path, columns: Columns = RECOGNISED) -> AppliedSets:
    """Write the rows of a prediction file with their sets, and score the labelled ones.

    A table is copied with a new column `prediction_set`, labels separated by semicolons. Raises UserError if a row was
    used to fit the sets.
    """
    sets = read_sets(path)
    file = RowsFile.unseen(predictions, columns, path, sets.fitted_on)
    rows = sets.apply(file.rows)
    file.write(out, rows, {"prediction_set": [";".join(row.prediction_set or ()) for row in rows]})
    without = [row for row in rows if row.prediction_set is None]
    labelled = [row for row in rows if row.truth is not None and row.prediction_set is not None]
    unknown = sorted({row.task for row in without})
    card = build_scorecard(split_by_method(labelled)) if labelled else None
    return AppliedSets(sets, len(rows), len(without), unknown, card)
