"""The command `monitor`: test batches of new predictions for drift from a reference, for example in a cron job.

emocaliber monitor week-07.parquet --reference calibrate.parquet --state monitor.json

Exit codes: 0 no alarm; 3 an alarm has been raised; 2 the input must be corrected (the state is left unchanged).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.cli.console import progress
from emocaliber.cli.options import add_column_arguments, columns_of
from emocaliber.core.outputs import Output

ALARM = 3
"""The exit code once an alarm has been raised."""


def add_monitor(parser: argparse.ArgumentParser) -> None:
    """The arguments of `monitor`."""
    parser.epilog = (
        "Exit codes: 0 no alarm; 3 an alarm has been raised, by this batch or an earlier one; 2 the input must be"
        " corrected, and the state is unchanged."
    )
    parser.add_argument(
        "predictions",
        type=Path,
        metavar="NEW",
        help="new predictions, labelled or not: a prediction file, a folder of Parquet parts, or a table with ids;"
        " rows that were counted in an earlier batch are skipped",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="REF",
        help="labelled predictions of the same model to compare with, such as its calibration rows; required the first"
        " time",
    )
    parser.add_argument(
        "--state",
        type=Path,
        required=True,
        metavar="FILE",
        help="JSON file that carries the monitor from batch to batch; created the first time",
    )
    parser.add_argument(
        "--alpha",
        type=float,
        metavar="P",
        help="largest probability that any alarm is ever raised while nothing has changed, over all batches together"
        " (default: 0.05)",
    )
    parser.add_argument(
        "--page", action="store_true", help="also write an HTML page beside the state, with the evidence over time"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_column_arguments(parser)
    parser.set_defaults(run=_monitor, output=_output)


def _output(arguments: argparse.Namespace) -> Output:
    return Output(arguments.state, (_page(arguments.state).name,), is_file=True, in_steps=True)


def _page(state: Path) -> Path:
    return state.with_name(f"{state.stem}.html")


def _monitor(arguments: argparse.Namespace) -> int:
    """Process the batch, print the result and return the exit code."""
    import msgspec
    from rich.console import Console

    from emocaliber.reporting.monitor_page import monitor_document
    from emocaliber.reporting.pages import write_page
    from emocaliber.reporting.terminal import render_terminal
    from emocaliber.runs.monitor import monitor_files

    with progress("reading") as report:
        done = monitor_files(
            arguments.predictions,
            arguments.reference,
            arguments.state,
            alpha=arguments.alpha,
            columns=columns_of(arguments),
            on_progress=report,
        )
    result = done.as_dict()
    before = done.facts.rows - done.new
    words = [
        f"{arguments.predictions.name}: {done.new:,} new rows; {before:,} belong to units that were counted before."
        f" This is batch {done.batches} of {arguments.state}."
    ]
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(result), indent=1).decode())
    else:
        console = Console()
        for part in render_terminal(monitor_document(done.monitor, words, result, figure=False)):
            console.print(part)
    if arguments.page:
        write_page(monitor_document(done.monitor, words, result, figure=True), _page(arguments.state))
    return ALARM if done.monitor.alarms else 0
