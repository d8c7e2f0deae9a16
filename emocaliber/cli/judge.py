"""Commands that judge: `score` (prediction files and tables) and `compare` (a finished run beside the baselines).

emocaliber score predictions.jsonl --calibration calibration.jsonl --out out/score
emocaliber score mine.csv --confidence-column certainty --correct-column was_right --percent
emocaliber score answers.parquet --by age --by camera --groups faces.csv
emocaliber compare out/demo
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.cli.console import progress
from emocaliber.core.errors import UserError
from emocaliber.core.outputs import REPORT, SCORECARD, Output
from emocaliber.reading.headers import HEADERS
from emocaliber.reading.tables import Columns


def add_column_arguments(parser: argparse.ArgumentParser, *, labels: bool = True) -> None:
    """An option for each role of a column, `--percent`, and unless the command has its own, `--labels`."""
    group = parser.add_argument_group(
        "columns of a table (CSV, TSV, Excel, Parquet, JSON)",
        "Common headers are recognised in any case; name a column where yours is not, or two would do.",
    )
    for role, headers in HEADERS.items():
        group.add_argument(f"--{role}-column", metavar="NAME", help=f"default: {', '.join(headers[:3])} …")
    group.add_argument("--percent", action="store_true", help="confidences are percentages, 0 to 100")
    if labels:
        group.add_argument(
            "--labels",
            metavar="LABELS",
            help="a taxonomy or a list to choose from, for logs of inspect_ai, lm-evaluation-harness or VLMEvalKit"
            " whose items name no choices (default: their true labels)",
        )


def columns_of(arguments: argparse.Namespace) -> Columns:
    """The columns that the options name."""
    from emocaliber.data.any_source import declared_labels

    named = {role: getattr(arguments, f"{role}_column") for role in HEADERS}
    labels = declared_labels(arguments.labels) if arguments.labels else ()
    return Columns(**named, percent=arguments.percent, labels=labels)


BASELINES = tuple(f"baselines/{name}" for name in SCORECARD)


def add_score(parser: argparse.ArgumentParser) -> None:
    """The options of `score`."""
    parser.add_argument(
        "predictions",
        nargs="+",
        type=Path,
        metavar="PRED",
        help="predictions: a prediction file, a folder of Parquet parts, a table with confidence and correct (or label"
        " and prediction), EmoCaliber's merged output, an inspect_ai log, samples of lm-evaluation-harness, or a result"
        " table of VLMEvalKit; several are compared",
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
