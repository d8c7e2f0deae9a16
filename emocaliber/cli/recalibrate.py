"""The verb `recalibrate`: fit a post-hoc map on calibration predictions, and apply it to others.

emocaliber recalibrate fit calibration.csv --out map.json
emocaliber recalibrate apply map.json test.csv --out recalibrated.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from emocaliber.calibration.fit import KINDS, Signal
from emocaliber.cli.columns import add_column_arguments, columns_of
from emocaliber.core.outputs import Output

AUTO = "auto"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's two commands."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="fit a map on calibration predictions and write it as JSON")
    fit.add_argument("calibration", nargs="+", type=Path, help="calibration rows: prediction files or tables")
    fit.add_argument(
        "--map",
        default=AUTO,
        choices=(AUTO, *KINDS),
        help="the kind of map (default: auto, the lowest cross-validated Brier score)",
    )
    fit.add_argument(
        "--of", default="confidence", choices=get_args(Signal), help="what to map (default: the stated confidence)"
    )
    fit.add_argument("--one-map", action="store_true", help="one map for all tasks, instead of one per task")
    fit.add_argument("--force", action="store_true", help="write the map even if it does not help")
    fit.add_argument("--out", type=Path, required=True, help="the JSON file")
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
    parser.set_defaults(run=run, output=lambda a: Output(a.out, is_file=True))


def run(arguments: argparse.Namespace) -> None:
    """Fit or apply, and print what came of it."""
    if arguments.command == "fit":
        _fit(arguments)
    else:
        _apply(arguments)


def _fit(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.recalibration import fit_file

    kind = None if arguments.map == AUTO else arguments.map
    fit = fit_file(
        arguments.calibration,
        arguments.of,
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


def _apply(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.recalibration import AFTER, BEFORE, BINS, apply_file

    card = apply_file(arguments.map, arguments.predictions, arguments.out, columns_of(arguments))
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
    print(f"The recalibrated rows: {arguments.out}")
