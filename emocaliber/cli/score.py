"""The verb `score`: its arguments, and the judgement they ask for.

emocaliber score predictions.jsonl --calibration calibration.jsonl --out out/score
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.cli.columns import add_column_arguments, columns_of
from emocaliber.cli.console import progress
from emocaliber.core.errors import UserError
from emocaliber.core.outputs import SCORECARD, Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "predictions",
        nargs="+",
        type=Path,
        metavar="PRED",
        help="predictions: a prediction file, EmoCaliber's merged output, or a table with confidence and correct (or"
        " label and prediction); several files are compared",
    )
    parser.add_argument("--suite", type=Path, help="a file such as eval/suites/vecbench.yaml")
    parser.add_argument("--calibration", type=Path, action="append", default=[], help="predictions on held-out rows")
    parser.add_argument("--reference", type=Path, action="append", default=[], help="published figures to print beside")
    parser.add_argument("--out", type=Path, help="folder for scorecard.json, scorecard.md and report.html")
    parser.set_defaults(run=run, output=lambda a: None if a.out is None else Output(a.out, SCORECARD))
    parser.add_argument(
        "--threshold-on-test",
        action="store_true",
        help="choose trusted thresholds on the test rows themselves; every output marks them so",
    )
    add_column_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
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
