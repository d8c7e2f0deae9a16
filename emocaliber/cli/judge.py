"""The commands `score` (evaluate prediction files and tables) and `compare` (a finished run against the baselines).

emocaliber score predictions.jsonl --calibration calibration.jsonl --out out/score
emocaliber score mine.csv --confidence-column certainty --correct-column was_right --percent
emocaliber score answers.parquet --by age --by camera --groups faces.csv
emocaliber compare out/demo
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.cli.console import progress
from emocaliber.cli.options import add_column_arguments, columns_of
from emocaliber.core.errors import UserError
from emocaliber.core.outputs import REPORT, SCORECARD, Output

BASELINES = tuple(f"baselines/{name}" for name in SCORECARD)


def add_score(parser: argparse.ArgumentParser) -> None:
    """The arguments of `score`."""
    parser.add_argument(
        "predictions",
        nargs="+",
        type=Path,
        metavar="PRED",
        help="predictions to evaluate: a prediction file, a folder of Parquet parts, a table with columns for"
        " confidence and correct (or label and prediction), EmoCaliber's merged output, an inspect_ai log, a sample"
        " log of lm-evaluation-harness, or a result table of VLMEvalKit; several are compared with each other",
    )
    parser.add_argument("--suite", type=Path, metavar="FILE",
                        help="suite file that defines tasks and groups, such as eval/suites/vecbench.yaml")  # fmt: skip
    parser.add_argument("--calibration", type=Path, action="append", default=[], metavar="PRED",
                        help="predictions of the same methods on calibration rows, to choose thresholds and fit"
                        " post-hoc maps on; may be repeated")  # fmt: skip
    parser.add_argument("--reference", type=Path, action="append", default=[], metavar="FILE",
                        help="published figures to print for comparison, such as a file of eval/reference; may be"
                        " repeated")  # fmt: skip
    _add_grouping(parser)
    parser.add_argument("--out", type=Path, metavar="FOLDER",
                        help="folder for scorecard.json, scorecard.md and report.html (default: only"
                        " print)")  # fmt: skip
    parser.add_argument(
        "--threshold-on-test",
        action="store_true",
        help="choose the trusted thresholds on the test rows themselves, which is optimistic; every output says so",
    )
    add_column_arguments(parser)
    parser.set_defaults(run=_score, output=lambda a: None if a.out is None else Output(a.out, SCORECARD))


def _add_grouping(parser: argparse.ArgumentParser) -> None:
    """The options that compare groups of rows."""
    parser.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN",
        help="compare accuracy and calibration between the values of this column (age, source, camera) of the"
        " predictions or of --groups; may be repeated, p-values are adjusted for the number of groups",
    )
    parser.add_argument(
        "--groups",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="table with the columns of --by, joined on its column id, such as the table that was predicted on",
    )
    parser.add_argument("--by-bins", type=int, default=4, metavar="N",
                        help="number of quantile bins for a numeric --by column (default: 4)")  # fmt: skip


def _score(arguments: argparse.Namespace) -> None:
    """Evaluate the predictions and print the scorecard."""
    from rich.console import Console

    from emocaliber.reporting.score_report import summary_document
    from emocaliber.reporting.terminal import render_terminal
    from emocaliber.runs.scoring import score_files

    if twice := {path for path in arguments.predictions if arguments.predictions.count(path) > 1}:
        raise UserError(f"{min(twice)} is given twice; name each file once")
    if arguments.groups and not arguments.by:
        raise UserError("--groups needs --by: name one of its columns, such as --by age")
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
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="output folder of a finished `emocaliber run`")
    parser.add_argument(
        "--predictions",
        type=Path,
        action="append",
        default=[],
        metavar="PRED",
        help="another method's predictions on the run's test samples, to include in the comparison: a prediction file,"
        " or a table with the samples' ids; may be repeated",
    )
    add_column_arguments(parser)
    parser.set_defaults(run=_compare, output=lambda a: Output(a.run_folder, (*REPORT, *BASELINES), must_exist=True))


def _compare(arguments: argparse.Namespace) -> None:
    """Train the baselines, evaluate them beside the language model, and print where both reports are."""
    from emocaliber.runs.compare import compare

    with progress("reading") as report_progress:
        report = compare(
            arguments.run_folder,
            report_progress,
            predictions=arguments.predictions,
            columns=columns_of(arguments),
        )
    print(f"The run's report, with the baselines: {report}")
    print(f"All figures of the baselines: {arguments.run_folder / 'baselines' / 'report.html'}")
