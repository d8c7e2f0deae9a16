"""Commands that judge: `score` (prediction files and tables) and `compare` (a finished run beside the baselines).

emocaliber score predictions.jsonl --calibration calibration.jsonl --out out/score
emocaliber score mine.csv --confidence-column certainty --correct-column was_right --percent
emocaliber compare out/demo
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.cli.columns import add_column_arguments, columns_of
from emocaliber.cli.console import progress
from emocaliber.core.errors import UserError
from emocaliber.core.outputs import REPORT, SCORECARD, Output

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
