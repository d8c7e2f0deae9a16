"""The command `recalibrate`: fit a post-hoc calibration map, prediction sets or reasons for doubt on calibration
predictions, and apply them to other predictions.

emocaliber recalibrate fit calibration.csv --out map.json
emocaliber recalibrate fit calibration.jsonl --target votes --out map.json
emocaliber recalibrate fit calibration.jsonl --map sets --coverage 0.9 --out sets.json
emocaliber recalibrate fit calibration.jsonl --map doubt --pictures photos.parquet --model DIR --out doubt.json
emocaliber recalibrate apply map.json test.csv --out recalibrated.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.cli.console import progress
from emocaliber.cli.options import add_column_arguments, columns_of
from emocaliber.cli.sets_and_doubt import (
    PICTURES,
    add_doubt,
    add_sets,
    apply_doubt,
    apply_sets,
    fit_doubt,
    fit_sets,
)
from emocaliber.core.errors import UserError
from emocaliber.core.outputs import Output
from emocaliber.core.predictions import Held

AUTO, SETS, DOUBT = "auto", "sets", "doubt"


def add_recalibrate(parser: argparse.ArgumentParser) -> None:
    """The commands below `recalibrate`."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="fit a map on calibration predictions and write it as JSON")
    _add_map(fit)
    add_sets(fit.add_argument_group("with --map sets"))
    add_doubt(fit.add_argument_group("with --map doubt"))
    add_column_arguments(fit)
    _add_apply(commands.add_parser("apply", help="apply a fitted map to other predictions"))
    parser.set_defaults(run=_recalibrate, output=lambda a: Output(a.out, is_file=True))


def _add_map(fit: argparse.ArgumentParser) -> None:
    """The options of `fit` for every kind of map."""
    from emocaliber.calibration.fit import EVERY_KIND  # scipy takes half a second that `score` need not wait for
    from emocaliber.calibration.targets import DESCRIBED

    fit.add_argument(
        "calibration",
        nargs="+",
        type=Path,
        metavar="PRED",
        help="labelled predictions on calibration rows, held out from training and from the test: prediction files or"
        " tables",
    )
    fit.add_argument(
        "--map",
        default=AUTO,
        choices=(AUTO, *EVERY_KIND, SETS, DOUBT),
        metavar="KIND",
        help="what to fit: one of the post-hoc calibration maps temperature, platt, beta, isotonic, venn-abers, matrix"
        " (of a distribution) or probe (of the hidden state); signals, a logistic map of several signals; sets,"
        " prediction sets; doubt, reasons for doubt (default: auto, the map with the lowest cross-fitted Brier score)",
    )
    fit.add_argument(
        "--of",
        metavar="SIGNAL",
        help="the input of the map: confidence, probability, distribution, hidden, the name of a signal that `predict"
        " --signals` measured, or signals for all of those together (default: everything that the rows have, compared"
        " in one table; for sets, the distribution if the rows have one)",
    )
    fit.add_argument(
        "--target",
        default="label",
        choices=tuple(DESCRIBED),
        help="what a confidence of .6 is to mean: with label, that 60%% of such answers are the true label; with votes,"
        " that 60%% of the raters choose this label, for which the predictions must hold votes (default: label)",
    )
    fit.add_argument("--one-map", action="store_true", help="fit one map for all tasks (default: one per task)")
    fit.add_argument(
        "--force",
        action="store_true",
        help="write the map even if it does not lower the cross-fitted Brier score by more than one standard error",
    )
    fit.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSON file to write")


def _add_apply(apply: argparse.ArgumentParser) -> None:
    """The options of `apply`."""
    apply.add_argument("map", type=Path, metavar="MAP", help="the JSON file that `fit` wrote")
    apply.add_argument(
        "predictions",
        type=Path,
        metavar="PRED",
        help="a prediction file or table; rows that the map was fitted on are refused",
    )
    apply.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FILE",
        help="the file to write: a table is copied with new columns, unless FILE ends in .jsonl, which always gives a"
        " prediction file",
    )
    apply.add_argument("--pictures", metavar="DATA", help=f"to apply a doubt map: {PICTURES}")
    add_column_arguments(apply)


def _recalibrate(arguments: argparse.Namespace) -> None:
    """Fit or apply, and print the result."""
    from emocaliber.calibration.doubt import FORMAT as DOUBT_FORMAT
    from emocaliber.calibration.files import holds_format
    from emocaliber.calibration.sets import FORMAT as SETS_FORMAT

    if arguments.command == "fit":
        _refuse_ignored_option(arguments)
    if arguments.command == "fit" and arguments.map == SETS:
        fit_sets(arguments)
    elif arguments.command == "fit" and arguments.map == DOUBT:
        fit_doubt(arguments)
    elif arguments.command == "fit":
        _fit(arguments)
    elif holds_format(arguments.map, DOUBT_FORMAT):
        apply_doubt(arguments)
    elif holds_format(arguments.map, SETS_FORMAT):
        apply_sets(arguments)
    else:
        _apply(arguments)


def _refuse_ignored_option(arguments: argparse.Namespace) -> None:
    """Raises UserError for an option about votes that this kind of map would ignore."""
    if arguments.map == SETS and arguments.target != "label":
        raise UserError("--target is for maps of a confidence; for sets that hold a rater's answer use --holds rater")
    if arguments.map == DOUBT and arguments.target != "label":
        raise UserError("--target is for maps of a confidence; a doubt map uses the votes anyway: leave --target out")
    if arguments.map not in (SETS, DOUBT) and arguments.holds != Held.LABEL:
        raise UserError("--holds is for --map sets; for a map fitted to the raters' votes use --target votes")


def _fit(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from emocaliber.calibration.targets import DESCRIBED
    from emocaliber.reporting.document import Document
    from emocaliber.reporting.floors import floors_table
    from emocaliber.reporting.terminal import render_terminal
    from emocaliber.runs.recalibration import fit_file

    kind = None if arguments.map == AUTO else arguments.map
    with progress("reading") as report_progress:
        fit = fit_file(
            arguments.calibration,
            arguments.of,
            kind,
            arguments.out,
            per_task=not arguments.one_map,
            target=arguments.target,
            force=arguments.force,
            columns=columns_of(arguments),
            on_progress=report_progress,
        )
    fitted, own_maps = fit.recalibrator, len(fit.recalibrator.tasks)
    scope = f"for all tasks, {own_maps} with a map of their own" if own_maps else "for all tasks"
    if fit.floors is not None:
        for part in render_terminal(Document("Floors", [floors_table(fit.floors, fit.floors.scorecard())], [])):
            Console().print(part)
    name = "map of all signals" if fitted.signal == "signals" else f"{fitted.kind} map of the {fitted.signal}"
    print(f"{name}, {scope}, fitted on {fit.rows} rows to {DESCRIBED[fitted.target]}: {arguments.out}")
    for note in fit.notes:
        print(f"Note: {note}")


def _apply(arguments: argparse.Namespace) -> None:
    """Apply a calibration map, and print the scores before and after, where rows have a label."""
    from emocaliber.calibration.files import read_map
    from emocaliber.calibration.targets import DESCRIBED
    from emocaliber.runs.recalibration import AFTER, BEFORE, BINS, SCORED_BY, apply_file

    card = apply_file(arguments.map, arguments.predictions, arguments.out, columns_of(arguments))
    target = read_map(arguments.map)[0].target
    print(f"The rows, recalibrated to {DESCRIBED[target]}: {arguments.out}")
    if card is None:
        print("No row has a true label, so there is nothing to evaluate.")
        return
    after = card.method(AFTER).find("all")
    if not set(SCORED_BY[target]) <= after.headline.keys():
        print("Note: some labelled rows have no votes, so all are scored by their labels, not by their votes")
        target = "label"
    metrics = dict(zip(SCORED_BY[target], ("Brier", "ECE"), strict=True))
    for name in (BEFORE, AFTER):
        values = card.method(name).find("all").headline
        print(f"{name:<7} " + "  ".join(f"{label} {values[key].value:.4f}" for key, label in metrics.items()))
    [comparison] = [
        c
        for c in card.comparisons
        if (c.kind, c.aggregation) == ("all", "pooled") and {c.first, c.second} == {BEFORE, AFTER}
    ]
    sign = 1 if comparison.first == AFTER else -1
    changes = []
    for key, label in metrics.items():
        difference = comparison.headline[key]
        low, high = sorted(sign * (bound or 0.0) for bound in (difference.low, difference.high))
        changes.append(f"{label} {sign * (difference.value or 0.0):+.4f} [{low:+.4f}, {high:+.4f}]")
    print(f"{'change':<7} " + "  ".join(changes))
    scored_by = "" if target == "label" else f", scored by {DESCRIBED[target]}"
    print(f"({after.n} rows{scored_by}; ECE with {BINS} bins; 95 % intervals of the paired difference)")
