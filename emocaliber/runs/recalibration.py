"""Recalibrating files of predictions: choose and fit a map on calibration rows, apply it to other rows.

For a model that cannot be trained: what it states, or its label probability, is mapped after the fact. A map that does
not help by cross-validation is refused, unless it is forced. A table comes back with one more column.

    emocaliber recalibrate fit calibration.csv --out map.json
    emocaliber recalibrate fit calibration.jsonl --target votes --out map.json
    emocaliber recalibrate apply map.json test.csv --out recalibrated.csv
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

from msgspec import structs

from emocaliber.calibration.cross_fitting import CrossValidated
from emocaliber.calibration.files import read_map, row_hash, write_map
from emocaliber.calibration.fit import ALL, Kind, Recalibrator, Signal, fit_recalibrator, refuse_target, with_signal
from emocaliber.calibration.maps import Beta, Isotonic, Platt, Temperature, bound_reached
from emocaliber.calibration.targets import Target, has_target
from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.prediction_files import FORMATS, write_rows
from emocaliber.core.predictions import Prediction, write_predictions
from emocaliber.evaluation.compute import DEFAULTS, build_scorecard
from emocaliber.evaluation.floors import Floors, cross_fitted_floors, floor_name
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.generation.signals import RELATIVE
from emocaliber.reading.foreign_outputs import is_table, read_lines
from emocaliber.reading.tables import RECOGNISED, Columns, Table, read_table

BEFORE, AFTER = "before", "after"
BINS = 15
SCORED_BY: dict[Target, tuple[str, str]] = {"label": ("brier", "ece"), "votes": ("agreement_brier", "agreement_ece")}
"""The Brier score and the ECE that a map fitted to the target is scored by."""
ROWS = ".jsonl"
"""An --out that ends so is a prediction file, also where the input was a table."""
TEXT = ("", ".csv", ".tsv", ".txt")
"""What the name of a table with one more column may end in."""


@dataclass(frozen=True)
class Fit:
    """The map fitted on `rows` rows, the `floors` it was chosen from (None if it was forced on too few rows to
    cross-fit), and notes."""

    recalibrator: Recalibrator
    rows: int
    floors: Floors | None
    notes: list[str]

    @property
    def tried(self) -> list[CrossValidated]:
        """The cross-validated result of every map that was tried, the lowest Brier score first."""
        return self.floors.tried if self.floors else []


def fit_file(
    calibration: Sequence[Path],
    signal: Signal | None,
    kind: Kind | None,
    out: Path,
    *,
    per_task: bool,
    target: Target = "label",
    force: bool = False,
    columns: Columns = RECOGNISED,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Fit:
    """Fit a map on all rows of these files and write it: of the given `signal` and `kind`, or, for None, the one of all
    available with the lowest cross-fitted Brier score. Fitted to votes, rows need no label, and those without votes are
    left out.

    Raises UserError if no row is suitable for the fit, if this kind cannot be fitted to the target, or if the map does
    not help and is not forced.
    """
    files, notes = _calibration_files(calibration, kind, target, columns)
    rows, names = [row for file in files for row in file.rows], ", ".join(map(str, calibration))
    try:
        usable = rows if signal is None else with_signal(rows, signal)
    except ValueError as error:
        raise UserError(f"{names}: {error}; choose another with --of") from None
    floors: Floors | None = None
    try:
        floors = cross_fitted_floors(usable, signal, kind, per_task=per_task, target=target, on_progress=on_progress)
    except ValueError as error:
        if not force or kind is None or signal is None:
            hint = "give more calibration rows, or name --of and --map and --force it"
            raise UserError(f"{names}: {error}; {hint}") from None
    if floors and not floors.best.helps and not force:
        raise UserError(f"{names}: {_no_help(floors)}")
    chosen, of = (floors.best.kind, floors.best.signal) if floors else (kind, signal)
    assert chosen is not None
    assert of is not None
    fitting = with_signal(usable, of)
    fitted = fit_recalibrator(fitting, of, chosen, per_task=per_task, target=target)
    write_map(out, fitted, rows, [mark for file in files for mark in file.hashes])
    left_out = floors.left_out if floors else {}
    notes += [f"{name} is no floor: {count:,} rows have it" for name, count in left_out.items()]
    return Fit(fitted, len(fitting), floors, notes + _on_relative(of, fitting) + _at_bounds(fitted))


def _calibration_files(
    paths: Sequence[Path], kind: Kind | None, target: Target, columns: Columns
) -> tuple[list[RowsFile], list[str]]:
    """The files with the rows that have the target, and notes on how they were read and what was left out.

    Raises UserError if no row has the target, or if this kind cannot be fitted to it.
    """
    names = ", ".join(map(str, paths))
    try:
        if kind is not None:
            refuse_target(kind, target)
    except ValueError as error:
        raise UserError(f"--map {kind} --target {target}: {error}") from None
    files = [RowsFile.read(path, columns, unlabelled=target == "votes") for path in paths]
    notes = [f"{file.path.name}: {file.table.described}" for file in files if file.table and file.table.described]
    rows = [row for file in files for row in file.rows]
    without = [row.id for row in rows if not has_target(row, target)]
    if not without:
        return files, notes
    if len(without) == len(rows):
        raise UserError(
            f"{names}: none of the {len(rows):,} rows, of which the first is {without[0]!r}, has raters' 'votes', which"
            " --target votes needs; prediction files of samples with votes have them. Without votes, use --target label"
        )
    notes.append(f"{len(without):,} of {len(rows):,} rows have no votes and were left out, the first is {without[0]!r}")
    return [file.with_target(target) for file in files], notes


def apply_file(path: Path, predictions: Path, out: Path, columns: Columns = RECOGNISED) -> Scorecard | None:
    """Apply a map to the rows of a prediction file, write them, and score the labelled ones before and after; None if
    no row has a label.

    A table is copied with a new column `recalibrated_confidence`, in the unit of its confidences. Raises UserError if a
    row was used to fit the map, since its score would be optimistic.
    """
    recalibrator, fitted_on = read_map(path)
    file = RowsFile.unseen(predictions, columns, path, fitted_on)
    made = f"{recalibrator.kind} {recalibrator.signal}{'' if recalibrator.target == 'label' else ' to votes'}"
    mapped = [
        structs.replace(new, method=f"{row.method}, {made}")
        for row, new in zip(file.rows, recalibrator.apply(file.rows, AFTER), strict=True)
    ]
    file.write(out, mapped, {"recalibrated_confidence": [_shown(row, file.table) for row in mapped]})
    labelled = [pair for pair in zip(file.rows, mapped, strict=True) if pair[0].truth is not None]
    return _judged(*zip(*labelled, strict=True)) if labelled else None


@dataclass(frozen=True)
class RowsFile:
    """A file's rows, and the hash of each by which a map recognises it. The hash of rows without ids includes the
    file's content."""

    path: Path
    rows: list[Prediction]
    hashes: list[str]
    table: Table | None

    @classmethod
    def read(cls, path: Path, columns: Columns, *, unlabelled: bool = False) -> RowsFile:
        """Raises UserError for a file that cannot be read, and for a row without a label unless `unlabelled`."""
        if not is_table(path):
            rows = list(read_lines(path, unlabelled=unlabelled, labels=columns.labels))
            return cls(path, rows, [row_hash(row) for row in rows], None)
        table = read_table(path, columns, unlabelled=unlabelled)
        content = hashlib.sha256(path.read_bytes()).hexdigest() if table.numbered else ""
        return cls(path, table.rows, [row_hash(row, content) for row in table.rows], table)

    @classmethod
    def unseen(cls, path: Path, columns: Columns, map_file: Path, fitted_on: Collection[str]) -> RowsFile:
        """A file to apply a map to, labelled or not. Raises UserError if it has no row, or one that the map was fitted
        on."""
        file = cls.read(path, columns, unlabelled=True)
        if not file.rows:
            raise UserError(f"{path} holds no row; a run writes one for every sample, refused ones too")
        reused = next((row.id for row, mark in zip(file.rows, file.hashes, strict=True) if mark in fitted_on), None)
        if reused is not None:
            raise UserError(f"{path}: row {reused!r} was used to fit {map_file}; apply the map to rows it has not seen")
        return file

    def with_target(self, target: Target) -> RowsFile:
        """The rows that a map to this target can be fitted on, without the table that they were read from."""
        kept = [has_target(row, target) for row in self.rows]
        return RowsFile(self.path, list(compress(self.rows, kept)), list(compress(self.hashes, kept)), None)

    def write(self, out: Path, rows: Sequence[Prediction], columns: Mapping[str, Sequence[str]]) -> None:
        """Write the rows as a prediction file, in the format of the suffix; or the original table with these columns
        added, unless `out` ends in ROWS. Raises UserError if the suffix does not fit a table written as text."""
        if self.table is None or out.suffix == ROWS:
            (write_rows if out.suffix in FORMATS else write_predictions)(out, rows)
            return
        if out.suffix not in TEXT:
            raise UserError(
                f"--out {out}: the table {self.path.name} is given back as delimited text with one more column: name"
                f" it {out.with_suffix('.csv').name}, or {out.with_suffix(ROWS).name} for prediction rows"
            )
        text = io.StringIO()
        writer = csv.writer(text, delimiter=self.table.delimiter, lineterminator="\n")
        writer.writerow([*self.table.header, *columns])
        for cells, *more in zip(self.table.cells, *columns.values(), strict=True):
            writer.writerow([*cells, *more])
        write_atomically(out, [text.getvalue().encode()])


def _judged(before: Sequence[Prediction], after: Sequence[Prediction]) -> Scorecard:
    """A scorecard of both with their paired differences; ids keep several methods of one file apart."""
    several = len({row.method for row in before}) > 1
    rows = {
        name: [structs.replace(row, method=name, id=f"{old.method}/{row.id}" if several else row.id)
               for row, old in zip(own, before, strict=True)]
        for name, own in ((BEFORE, before), (AFTER, after))
    }  # fmt: skip
    return build_scorecard(rows, settings=replace(DEFAULTS, bins=BINS), subject=AFTER)


def _shown(row: Prediction, table: Table | None) -> str:
    """The confidence in the table's unit and notation."""
    if row.confidence is None or math.isnan(row.confidence) or table is None:
        return ""
    value = f"{row.confidence * (100 if table.percent else 1):.6g}"
    return value.replace(".", ",") if table.decimal_comma else value


def _no_help(floors: Floors) -> str:
    """Why no map is written, with the scores and how to write it anyway."""
    tried, best = floors.tried, floors.best
    scores = ", ".join(f"{floor_name(result.signal, result.kind)} {result.after:.4f}" for result in tried)
    which = "no map helps" if len(tried) > 1 else f"a {best.kind} map does not help"
    least = f"one standard error ({best.error:.4f})"
    other = "" if len(tried) > 1 else "; try --map auto"
    score = "Brier score" if floors.target == "label" else "Brier score over the raters"
    return (
        f"{which}, so none is written: {floors.subject} has {score} {best.before:.4f}, cross-validated"
        f" {scores}; the gain must be more than {least}{other}. --of {best.signal} --map {best.kind} --force writes it"
        " all the same"
    )


def _on_relative(signal: Signal, rows: Sequence[Prediction]) -> list[str]:
    """What rows must be compared with for a map of relative confidence."""
    if signal not in (ALL, RELATIVE) or not any(RELATIVE in (row.signals or {}) for row in rows):
        return []
    return [
        f"scores of the signal {RELATIVE} are those of rows that were compared with each other: predict rows that this"
        " map is to be applied to with --against the run of these"
    ]


def _at_bounds(fitted: Recalibrator) -> list[str]:
    """The parameters that ended at their bounds, by task."""
    maps = {"": fitted.overall} if not fitted.tasks else {f"task {task}: ": own for task, own in fitted.tasks.items()}
    return [
        f"{where}{sentence}"
        for where, own in maps.items()
        if isinstance(own, (Temperature, Platt, Beta, Isotonic)) and (sentence := bound_reached(own, fitted.target))
    ]
