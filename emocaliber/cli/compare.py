"""The verb `compare`: its argument, and the comparison of a finished run with the baselines.

emocaliber compare out/demo
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.cli.columns import add_column_arguments, columns_of
from emocaliber.cli.console import progress
from emocaliber.cli.training import REPORT_FILES
from emocaliber.core.outputs import Output

COMPARED = ("baselines/scorecard.json", "baselines/scorecard.md", "baselines/report.html")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's argument."""
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
    parser.set_defaults(run=run, output=lambda a: Output(a.run_folder, (*REPORT_FILES, *COMPARED), must_exist=True))


def run(arguments: argparse.Namespace) -> None:
    """Train the baselines, judge them beside the language model, and say where both reports are."""
    from emocaliber.runs.compare import BASELINES, compare

    with progress("reading") as report_progress:
        report = compare(
            arguments.run_folder,
            report_progress,
            predictions=arguments.predictions,
            columns=columns_of(arguments),
        )
    print(f"The run's report, baselines beside it: {report}")
    print(f"All of their figures: {arguments.run_folder / BASELINES / 'report.html'}")
