"""The verb `recalibrate`: fit a post-hoc map on calibration predictions, and apply it to others.

emocaliber recalibrate fit calibration.jsonl --out map.json
emocaliber recalibrate apply map.json predictions.jsonl --out recalibrated.jsonl
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from emocaliber.calibration.fit import KINDS, Signal
from emocaliber.core.outputs import Output

AUTO = "auto"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's two commands."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="fit a map on calibration predictions and write it as JSON")
    fit.add_argument("calibration", nargs="+", type=Path, help="prediction files of calibration rows")
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
    apply = commands.add_parser("apply", help="apply a fitted map to other predictions")
    apply.add_argument("map", type=Path, help="the JSON file that `fit` wrote")
    apply.add_argument("predictions", type=Path, help="a prediction file of rows that the map was not fitted on")
    apply.add_argument("--out", type=Path, required=True, help="the prediction file to write")
    parser.set_defaults(output=lambda a: Output(a.out, is_file=True))


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
    from emocaliber.runs.recalibration import BINS, apply_file, figures

    for name, rows in zip(
        ("before", "after"), apply_file(arguments.map, arguments.predictions, arguments.out), strict=True
    ):
        scores = figures(rows)
        print(f"{name:<7} Brier {scores['Brier']:.4f}  ECE {scores['ECE']:.4f}  ({len(rows)} rows, {BINS} bins)")
    print(f"The recalibrated rows: {arguments.out}")
