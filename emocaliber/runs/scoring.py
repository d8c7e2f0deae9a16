"""Scoring files: read predictions, judge them, write scorecard.json, scorecard.md and report.html.

Not the judging itself (see emocaliber.evaluation) and not the drawing of the report (see emocaliber.reporting).

    emocaliber score predictions.jsonl [more.jsonl ...] [--suite ...] [--calibration ...] [--out DIR]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.core.prediction_files import is_columnar, parquet_rows
from emocaliber.core.prediction_table import PredictionTable, split_by_method
from emocaliber.core.predictions import Prediction
from emocaliber.core.tally import tally
from emocaliber.evaluation.auditing import audit_table
from emocaliber.evaluation.compute import DEFAULTS, build_scorecard
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.evaluation.suite import load_references, load_suite
from emocaliber.reading.foreign_outputs import is_table, read_lines
from emocaliber.reading.tables import RECOGNISED, Columns, Table, read_table
from emocaliber.reporting.score_report import write_score_report
from emocaliber.runs.group_columns import find_columns

Progress = Callable[[str], None]
LARGE = 1_000_000
"""Rows of Parquet beyond which they are counted as they stream by."""
_STEP = 100_000


def score_files(
    paths: Sequence[Path],
    *,
    suite: Path | None = None,
    calibration: Sequence[Path] = (),
    references: Sequence[Path] = (),
    out: Path | None = None,
    threshold_on_test: bool = False,
    columns: Columns = RECOGNISED,
    by: Sequence[str] = (),
    groups: Sequence[Path] = (),
    bins: int = 4,
    replicates: int = DEFAULTS.replicates,
    on_progress: Progress = lambda _: None,
) -> Scorecard:
    """Judge the methods of these files together, and write the result under `out` where given.

    A method found in two files is named after both; `columns` names columns of tables. Each method is audited `by`
    columns of its table, of the tables `groups`, joined by id, or of the rows; those of numbers are cut into `bins`.
    Raises UserError for input that must be mended.
    """
    declared = load_suite(suite) if suite else None
    published = load_references(references)
    notes: list[str] = []
    methods = read_methods(paths, columns, on_progress, notes.append, tallied=not by)
    values_of = find_columns(by, paths, groups, columns) if by else None
    columns_by_method = {name: values_of(table) for name, table in methods.items()} if values_of else {}
    card = build_scorecard(
        methods,
        suite=declared,
        calibration=_matched(read_methods(calibration, columns, on_progress), list(methods)),
        published=published,
        settings=replace(DEFAULTS, replicates=replicates),
        threshold_on_test=threshold_on_test,
        on_progress=on_progress,
    )
    audits = []
    for name, (values, missing) in columns_by_method.items():
        on_progress(f"auditing {name} by {', '.join(values)}")
        table = replace(methods[name], method=name)
        audits.append(audit_table(table, values, bins=bins, settings=card.settings))
        notes += missing
    card = replace(card, notes=[*notes, *card.notes], audits=audits)
    if out is not None:
        write_score_report(card, out)
    return card


def read_methods(
    paths: Sequence[Path],
    columns: Columns = RECOGNISED,
    on_progress: Progress = lambda _: None,
    on_note: Progress = lambda _: None,
    *,
    tallied: bool = False,
) -> dict[str, PredictionTable]:
    """Every method of every file, by name. Raises UserError for a file that cannot be read or holds no row.

    `on_note` is told which columns of a table were read as what. `tallied` counts Parquet of more than LARGE rows as
    it streams by, rather than holding every row.
    """
    methods: dict[str, PredictionTable] = {}
    numbered: dict[Path, Table] = {}
    for path in paths:
        on_progress(f"reading {path.name}")
        large = columnar_parts(path) if tallied else []
        rows: Iterable[Prediction] = ()
        if path.is_dir() and not large:
            rows = chain.from_iterable(read_lines(part, unlabelled=True) for part in parts(path))
        elif not large and is_table(path):
            table = read_table(path, columns)
            if table.described:
                on_note(f"{path.name}: {table.described}")
            if table.numbered:
                _refuse_other_rows(path, table, numbered)
            rows = table.rows
        elif not large:
            rows = read_lines(path, unlabelled=True, labels=columns.labels, note=partial(_about, path, on_note))
        if large:
            by_method, notes = tally(large, on_progress)
            for note in notes:
                on_note(f"{path.name}: {note}")
        else:
            by_method = split_by_method(_labelled(_counted(rows, path, on_progress), path, on_note))
        if not by_method:
            raise UserError(f"{path} holds no row with a label; predict on labelled rows, and score what comes of it")
        for name, predictions in by_method.items():
            unique = name if name not in methods else f"{name} [{path.parent.name}/{path.stem}]"
            if unique in methods:
                raise UserError(f"{path}: method {name!r} was read already; give each file once")
            methods[unique] = predictions
    return methods


def _about(path: Path, on_note: Progress, text: str) -> None:
    on_note(f"{path.name}: {text}")


def columnar_parts(path: Path) -> list[Path]:
    """The Parquet files of a path whose rows are too many to be held; none where they are not."""
    files = parts(path) if path.is_dir() else [path]
    return files if sum(map(parquet_rows, files)) > LARGE else []


def parts(folder: Path) -> list[Path]:
    """The Parquet files of a folder, in order: the parts of one method's predictions. Raises UserError for none."""
    files = sorted(folder.glob("*.parquet"))
    if not files:
        others = ", ".join(map(str, sorted(folder.glob("predictions*.jsonl")))) or "a file"
        raise UserError(f"{folder}: this folder holds no Parquet file of predictions; give {others}")
    if odd := next((file for file in files if not is_columnar(file)), None):
        raise UserError(f"{odd}: these are no prediction rows; `emocaliber predict --out answers.parquet` writes them")
    return files


def _refuse_other_rows(path: Path, table: Table, numbered: dict[Path, Table]) -> None:
    """Rows without ids are compared line by line: raises UserError where two tables cannot be of the same rows."""
    for other, before in numbered.items():
        facts, others = ([(row.task, row.group, row.truth) for row in each.rows] for each in (table, before))
        if facts != others:
            differs = next(
                (n for n, (a, b) in enumerate(zip(others, facts, strict=False)) if a != b), min(len(facts), len(others))
            )
            sizes = f"{len(others)} and {len(facts)} rows, different from row {differs + 1} on"
            raise UserError(
                f"{other} and {path} have no ids and are not of the same samples ({sizes}); where {path.name} holds"
                f" calibration rows, give it as --calibration {path}; else add a column of ids to both"
            )
    numbered[path] = table


def _matched(calibration: dict[str, PredictionTable], methods: Sequence[str]) -> dict[str, PredictionTable]:
    """Calibration rows by the name of their method; one alone belongs to one alone, whatever its name."""
    if len(calibration) == 1 and len(methods) == 1:
        return {methods[0]: next(iter(calibration.values()))}
    if unknown := sorted(set(calibration) - set(methods)):
        raise UserError(f"the calibration rows are of {unknown}, the predictions of {list(methods)}: names must match")
    return calibration


def _labelled(rows: Iterable[Prediction], path: Path, on_note: Progress) -> Iterable[Prediction]:
    """The rows that can be judged; how many others there are is noted."""
    unlabelled = 0
    for row in rows:
        if row.truth is None:
            unlabelled += 1
        else:
            yield row
    if unlabelled:
        on_note(f"{path.name}: {unlabelled:,} rows have no label and are not judged")


def _counted(rows: Iterable[Prediction], path: Path, on_progress: Progress) -> Iterable[Prediction]:
    for number, row in enumerate(rows, 1):
        yield row
        if number % _STEP == 0:
            on_progress(f"reading {path.name}: {number:,} rows")
