"""Commands that judge: `score` (prediction files and tables), `compare` (a finished run beside the baselines) and
`recalibrate` (fit a post-hoc map on calibration predictions, apply it to others).

emocaliber score predictions.jsonl --calibration calibration.jsonl --out out/score
emocaliber score mine.csv --confidence-column certainty --correct-column was_right --percent
emocaliber score answers.parquet --by age --by camera --groups faces.csv
emocaliber compare out/demo
emocaliber recalibrate fit calibration.csv --out map.json
emocaliber recalibrate fit calibration.jsonl --map sets --coverage 0.9 --out sets.json
emocaliber recalibrate apply map.json test.csv --out recalibrated.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from emocaliber.cli.console import progress
from emocaliber.core.errors import UserError
from emocaliber.core.outputs import REPORT, SCORECARD, Output
from emocaliber.core.predictions import Held
from emocaliber.evaluation.metric_names import METRICS
from emocaliber.reading.tables import HEADERS, Columns

if TYPE_CHECKING:
    from emocaliber.calibration.sets import SetMap


def add_column_arguments(parser: argparse.ArgumentParser) -> None:
    """An option for each role of a column, and `--percent`."""
    group = parser.add_argument_group(
        "columns of a table (CSV, TSV, Parquet, JSON)",
        "Common headers are recognised in any case; name a column where yours is not, or two would do.",
    )
    for role, headers in HEADERS.items():
        group.add_argument(f"--{role}-column", metavar="NAME", help=f"default: {', '.join(headers[:3])} …")
    group.add_argument("--percent", action="store_true", help="confidences are percentages, 0 to 100")


def columns_of(arguments: argparse.Namespace) -> Columns:
    """The columns that the options name."""
    named = {role: getattr(arguments, f"{role}_column") for role in HEADERS}
    return Columns(**named, percent=arguments.percent)


BASELINES = tuple(f"baselines/{name}" for name in SCORECARD)


def add_score(parser: argparse.ArgumentParser) -> None:
    """The options of `score`."""
    parser.add_argument(
        "predictions",
        nargs="+",
        type=Path,
        metavar="PRED",
        help="predictions: a prediction file, a folder of Parquet parts, EmoCaliber's merged output, or a table with"
        " confidence and correct (or label and prediction); several are compared",
    )
    parser.add_argument("--suite", type=Path, help="a file such as eval/suites/vecbench.yaml")
    parser.add_argument("--calibration", type=Path, action="append", default=[], help="predictions on held-out rows")
    parser.add_argument("--reference", type=Path, action="append", default=[], help="published figures to print beside")
    parser.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="audit every group of a column of the predictions or of --groups (age, source, camera); several may be"
        " given, and p-values are adjusted for all groups",
    )
    parser.add_argument(
        "--groups",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a table with the columns of --by, joined by its column 'id'; the table that was predicted on will do",
    )
    parser.add_argument("--by-bins", type=int, default=4, metavar="N", help="quantile bins of a column of numbers (4)")
    parser.add_argument("--out", type=Path, help="folder for scorecard.json, scorecard.md and report.html")
    parser.set_defaults(run=_score, output=lambda a: None if a.out is None else Output(a.out, SCORECARD))
    parser.add_argument(
        "--threshold-on-test",
        action="store_true",
        help="choose trusted thresholds on the test rows themselves; every output marks them so",
    )
    add_column_arguments(parser)


def _score(arguments: argparse.Namespace) -> None:
    """Judge the predictions and print the scorecard."""
    from rich.console import Console

    from emocaliber.reporting.score_report import summary_document
    from emocaliber.reporting.terminal import render_terminal
    from emocaliber.runs.scoring import score_files

    if twice := {path for path in arguments.predictions if arguments.predictions.count(path) > 1}:
        raise UserError(f"{min(twice)} is given twice")
    if arguments.groups and not arguments.by:
        raise UserError("--groups is joined for --by: name a column of it, such as --by age")
    if arguments.by_bins < 2:
        raise UserError(f"--by-bins {arguments.by_bins}: give 2 or more")
    console = Console()
    with progress("reading") as report:
        card = score_files(
            arguments.predictions,
            suite=arguments.suite,
            calibration=arguments.calibration,
            references=arguments.reference,
            out=arguments.out,
            threshold_on_test=arguments.threshold_on_test,
            columns=columns_of(arguments),
            by=arguments.by,
            groups=arguments.groups,
            bins=arguments.by_bins,
            on_progress=report,
        )
    for part in render_terminal(summary_document(card)):
        console.print(part)


def add_compare(parser: argparse.ArgumentParser) -> None:
    """The arguments of `compare`."""
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="the folder of a finished `emocaliber run`")
    parser.add_argument(
        "--predictions",
        type=Path,
        action="append",
        default=[],
        metavar="PRED",
        help="another method's predictions on the run's test samples: a prediction file, or a table with their ids",
    )
    add_column_arguments(parser)
    parser.set_defaults(run=_compare, output=lambda a: Output(a.run_folder, (*REPORT, *BASELINES), must_exist=True))


def _compare(arguments: argparse.Namespace) -> None:
    """Train the baselines, judge them beside the language model, and say where both reports are."""
    from emocaliber.runs.compare import compare

    with progress("reading") as report_progress:
        report = compare(
            arguments.run_folder,
            report_progress,
            predictions=arguments.predictions,
            columns=columns_of(arguments),
        )
    print(f"The run's report, baselines beside it: {report}")
    print(f"All of their figures: {arguments.run_folder / 'baselines' / 'report.html'}")


AUTO, SETS = "auto", "sets"


def add_recalibrate(parser: argparse.ArgumentParser) -> None:
    """The two commands of `recalibrate`."""
    from emocaliber.calibration.conformal import Score
    from emocaliber.calibration.fit import KINDS, Signal  # scipy takes half a second that `score` need not wait for

    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="fit a map on calibration predictions and write it as JSON")
    fit.add_argument("calibration", nargs="+", type=Path, help="calibration rows: prediction files or tables")
    fit.add_argument(
        "--map",
        default=AUTO,
        choices=(AUTO, *KINDS, SETS),
        help="the kind of map (default: auto, the lowest cross-validated Brier score); sets are prediction sets",
    )
    fit.add_argument(
        "--of",
        choices=get_args(Signal),
        help="what to map (default: the stated confidence; for sets the distribution, where rows have one)",
    )
    fit.add_argument("--one-map", action="store_true", help="one map for all tasks, instead of one per task")
    fit.add_argument("--force", action="store_true", help="write the map even if it does not help")
    fit.add_argument("--out", type=Path, required=True, help="the JSON file")
    sets = fit.add_argument_group("with --map sets")
    sets.add_argument(
        "--coverage", type=float, default=0.9, help="the probability that a set holds the answer (default: 0.9)"
    )
    sets.add_argument(
        "--holds",
        default=Held.LABEL.value,
        choices=[held.value for held in Held],
        help="the answer that a set holds: the label, or that of a rater drawn from those who vote (default: label)",
    )
    sets.add_argument("--set-score", default="lac", choices=get_args(Score), help="how labels enter (default: lac)")
    sets.add_argument("--by-group", action="store_true", help="a threshold for each group of a task, where it has rows")
    add_column_arguments(fit)
    apply = commands.add_parser("apply", help="apply a fitted map to other predictions")
    apply.add_argument("map", type=Path, help="the JSON file that `fit` wrote")
    apply.add_argument("predictions", type=Path, help="a prediction file or table of rows that the map has not seen")
    apply.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the file to write: a table gets a column more, unless this ends in .jsonl, which is a prediction file",
    )
    add_column_arguments(apply)
    parser.set_defaults(run=_recalibrate, output=lambda a: Output(a.out, is_file=True))


def _recalibrate(arguments: argparse.Namespace) -> None:
    """Fit or apply, and print what came of it."""
    from emocaliber.calibration.files import holds_format
    from emocaliber.calibration.sets import FORMAT

    if arguments.command == "fit" and arguments.map == SETS:
        _fit_sets(arguments)
    elif arguments.command == "fit":
        _fit(arguments)
    elif holds_format(arguments.map, FORMAT):
        _apply_sets(arguments)
    else:
        _apply(arguments)


def _fit(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.recalibration import fit_file

    kind = None if arguments.map == AUTO else arguments.map
    fit = fit_file(
        arguments.calibration,
        arguments.of or "confidence",
        kind,
        arguments.out,
        per_task=not arguments.one_map,
        force=arguments.force,
        columns=columns_of(arguments),
    )
    fitted, per_task = fit.recalibrator, len(fit.recalibrator.tasks)
    scope = f"for all tasks, {per_task} with a map of their own" if per_task else "for all tasks"
    print(f"{fitted.kind} map of the {fitted.signal}, {scope}, fitted on {fit.rows} rows: {arguments.out}")
    if fit.tried:
        scores = ", ".join(f"{result.kind} {result.after:.4f}" for result in fit.tried)
        print(f"cross-validated Brier score: unmapped {fit.tried[0].before:.4f}, {scores}")
    for note in fit.notes:
        print(f"Note: {note}")


def _fit_sets(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.prediction_sets import fit_sets_file

    fitted, notes = fit_sets_file(
        arguments.calibration,
        arguments.out,
        coverage=arguments.coverage,
        holds=Held(arguments.holds),
        score=arguments.set_score,
        signal=arguments.of,
        per="all" if arguments.one_map else "group" if arguments.by_group else "task",
        columns=columns_of(arguments),
    )
    limits = [task.limit for task in fitted.tasks.values() if task.limit is not None]
    groups = sum(len(task.groups) for task in fitted.tasks.values())
    scope = f"{len(limits)} tasks and {groups} groups with thresholds of their own" if limits else "one threshold"
    print(f"{promise(fitted)}, by {fitted.score} of the {fitted.signal}")
    print(f"{fitted.pooled.rows:,} rows, {fitted.pooled.units:,} units, {scope}: {arguments.out}")
    for note in notes:
        print(f"Note: {note}")


def promise(sets: SetMap) -> str:
    """What the sets promise, in words."""
    answer = "the label" if sets.holds is Held.LABEL else "the answer of a drawn rater"
    return f"Prediction sets that hold {answer} with probability {sets.coverage:g}"


def _apply_sets(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.prediction_sets import apply_sets_file

    applied = apply_sets_file(arguments.map, arguments.predictions, arguments.out, columns_of(arguments))
    print(f"{promise(applied.sets)}: {arguments.out}")
    if applied.without:
        tasks = ", ".join(map(repr, applied.unknown_tasks))
        print(f"Note: {applied.without:,} of {applied.rows:,} rows have no set: none was fitted for the task {tasks}")
    if applied.card is None:
        print("No row says what is correct, so that nothing is judged.")
        return
    for method in (method for method in applied.card.methods if method.role == "method"):
        every = method.find("all")
        values = [f"{METRICS[key].title} {value}" for key, value in every.headline.items() if key.startswith("set_")]
        print(f"{method.name} ({every.n:,} rows): {', '.join(values)}")


def _apply(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.recalibration import AFTER, BEFORE, BINS, apply_file

    card = apply_file(arguments.map, arguments.predictions, arguments.out, columns_of(arguments))
    print(f"The recalibrated rows: {arguments.out}")
    if card is None:
        print("No row says what is correct, so that nothing is judged.")
        return
    shown = {"brier": "Brier", "ece": "ECE"}
    for name in (BEFORE, AFTER):
        values = card.method(name).find("all").headline
        print(f"{name:<7} " + "  ".join(f"{label} {values[key].value:.4f}" for key, label in shown.items()))
    [change] = [
        c
        for c in card.comparisons
        if (c.kind, c.aggregation) == ("all", "pooled") and {c.first, c.second} == {BEFORE, AFTER}
    ]
    sign = 1 if change.first == AFTER else -1
    parts = []
    for key, label in shown.items():
        d = change.headline[key]
        low, high = sorted(sign * (bound or 0.0) for bound in (d.low, d.high))
        parts.append(f"{label} {sign * (d.value or 0.0):+.4f} [{low:+.4f}, {high:+.4f}]")
    print(f"{'change':<7} " + "  ".join(parts))
    n = card.method(AFTER).find("all").n
    print(f"({n} rows; ECE with {BINS} bins; 95 % intervals of the paired difference)")
