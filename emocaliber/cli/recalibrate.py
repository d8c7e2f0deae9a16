"""The command `recalibrate`: fit a post-hoc calibration map, prediction sets or reasons for doubt on calibration
predictions, and apply them to other predictions.

emocaliber recalibrate fit calibration.csv --out map.json
emocaliber recalibrate fit calibration.jsonl --map sets --coverage 0.9 --out sets.json
emocaliber recalibrate fit calibration.jsonl --map doubt --pictures photos.parquet --model DIR --out doubt.json
emocaliber recalibrate apply map.json test.csv --out recalibrated.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from emocaliber.cli.console import progress
from emocaliber.cli.options import add_column_arguments, columns_of
from emocaliber.core.outputs import Output
from emocaliber.core.predictions import Held
from emocaliber.evaluation.metric_names import METRICS

if TYPE_CHECKING:
    from emocaliber.calibration.sets import SetMap

AUTO, SETS, DOUBT = "auto", "sets", "doubt"
PICTURES = "Parquet file, or emoji or kaomoji, with the images of the rows, matched by id"


def add_recalibrate(parser: argparse.ArgumentParser) -> None:
    """The commands below `recalibrate`."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    fit = commands.add_parser("fit", help="fit a map on calibration predictions and write it as JSON")
    _add_map(fit)
    _add_sets(fit.add_argument_group("with --map sets"))
    _add_doubt(fit.add_argument_group("with --map doubt"))
    add_column_arguments(fit)
    _add_apply(commands.add_parser("apply", help="apply a fitted map to other predictions"))
    parser.set_defaults(run=_recalibrate, output=lambda a: Output(a.out, is_file=True))


def _add_map(fit: argparse.ArgumentParser) -> None:
    """The options of `fit` for every kind of map."""
    from emocaliber.calibration.fit import EVERY_KIND  # scipy takes half a second that `score` need not wait for

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
        " in"
        " one table; for sets, the distribution if the rows have one)",
    )
    fit.add_argument("--one-map", action="store_true", help="fit one map for all tasks (default: one per task)")
    fit.add_argument(
        "--force",
        action="store_true",
        help="write the map even if it does not lower the cross-fitted Brier score by more than one standard error",
    )
    fit.add_argument("--out", type=Path, required=True, metavar="FILE", help="the JSON file to write")


def _add_sets(sets: argparse._ArgumentGroup) -> None:
    """The options of `fit` for prediction sets."""
    from emocaliber.calibration.conformal import Score

    sets.add_argument(
        "--coverage",
        type=float,
        default=0.9,
        metavar="P",
        help="the probability, between 0 and 1, with which a set contains the answer (default: 0.9)",
    )
    sets.add_argument(
        "--holds",
        default=Held.LABEL.value,
        choices=[held.value for held in Held],
        help="the answer that a set must contain: the true label, or the vote of a randomly drawn rater (default:"
        " label)",
    )
    sets.add_argument(
        "--set-score",
        default="lac",
        choices=get_args(Score),
        help="conformity score: lac gives the smallest sets, aps and raps adapt more to the difficulty of each image"
        " (default: lac)",
    )
    sets.add_argument(
        "--by-group",
        action="store_true",
        help="fit a threshold for each group of a task that has enough rows, so that the coverage holds in each",
    )


def _add_doubt(doubt: argparse._ArgumentGroup) -> None:
    """The options of `fit` for reasons for doubt."""
    doubt.add_argument("--pictures", metavar="DATA", help=f"{PICTURES}, and with those of the train split")
    doubt.add_argument("--model", metavar="DIR", help="the model whose vision tower computes features of the images")
    doubt.add_argument(
        "--false-alarms",
        type=float,
        default=0.05,
        metavar="SHARE",
        help="largest share of familiar images that may be called unfamiliar, 0 to 1 (default: 0.05)",
    )


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
    from emocaliber.calibration.sets import FORMAT

    if arguments.command == "fit" and arguments.map == SETS:
        _fit_sets(arguments)
    elif arguments.command == "fit" and arguments.map == DOUBT:
        _fit_doubt(arguments)
    elif arguments.command == "fit":
        _fit(arguments)
    elif holds_format(arguments.map, DOUBT_FORMAT):
        _apply_doubt(arguments)
    elif holds_format(arguments.map, FORMAT):
        _apply_sets(arguments)
    else:
        _apply(arguments)


def _fit(arguments: argparse.Namespace) -> None:
    from rich.console import Console

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
            force=arguments.force,
            columns=columns_of(arguments),
            on_progress=report_progress,
        )
    fitted, per_task = fit.recalibrator, len(fit.recalibrator.tasks)
    scope = f"for all tasks, {per_task} with a map of their own" if per_task else "for all tasks"
    if fit.floors is not None:
        for part in render_terminal(Document("Floors", [floors_table(fit.floors, fit.floors.scorecard())], [])):
            Console().print(part)
    what = "map of all signals" if fitted.signal == "signals" else f"{fitted.kind} map of the {fitted.signal}"
    print(f"{what}, {scope}, fitted on {fit.rows} rows: {arguments.out}")
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
    """What the sets guarantee, in words."""
    answer = "the label" if sets.holds is Held.LABEL else "the vote of a randomly drawn rater"
    return f"Prediction sets that contain {answer} with probability {sets.coverage:g}"


def _apply_sets(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.prediction_sets import apply_sets_file

    applied = apply_sets_file(arguments.map, arguments.predictions, arguments.out, columns_of(arguments))
    print(f"{promise(applied.sets)}: {arguments.out}")
    if applied.without:
        tasks = ", ".join(map(repr, applied.unknown_tasks))
        print(f"Note: {applied.without:,} of {applied.rows:,} rows have no set: none was fitted for the task {tasks}")
    if applied.card is None:
        print("No row has a true label, so there is nothing to evaluate.")
        return
    for method in (method for method in applied.card.methods if method.role == "method"):
        every = method.find("all")
        values = [f"{METRICS[key].title} {value}" for key, value in every.headline.items() if key.startswith("set_")]
        print(f"{method.name} ({every.n:,} rows): {', '.join(values)}")


def _fit_doubt(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.doubt import fit_doubt_file

    with progress("computing features") as report:
        fitted, notes = fit_doubt_file(
            arguments.calibration,
            arguments.out,
            pictures=arguments.pictures,
            model=arguments.model,
            false_alarms=arguments.false_alarms,
            columns=columns_of(arguments),
            on_progress=report,
        )
    known = 0 if fitted.familiar is None else len(fitted.familiar.distances)
    print(
        f"Reasons for doubt, from {known:,} calibration images: at most a share {fitted.false_alarms:g} of such images"
    )
    print(f"is called unfamiliar; ambiguous from {fitted.ambiguous:.3f} on: {arguments.out}")
    for note in notes:
        print(f"Note: {note}")


def _apply_doubt(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.doubt import apply_doubt_file

    with progress("computing features") as report:
        applied = apply_doubt_file(
            arguments.map,
            arguments.predictions,
            arguments.out,
            pictures=arguments.pictures,
            columns=columns_of(arguments),
            on_progress=report,
        )
    counts = ", ".join(f"{reason or 'no reason'} {count:,}" for reason, count in applied.reasons.most_common())
    print(f"{counts}: {arguments.out}")
    if not applied.has_looked:
        print("Note: without --pictures, unfamiliar images are not detected")


def _apply(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.recalibration import AFTER, BEFORE, BINS, apply_file

    card = apply_file(arguments.map, arguments.predictions, arguments.out, columns_of(arguments))
    print(f"The recalibrated rows: {arguments.out}")
    if card is None:
        print("No row has a true label, so there is nothing to evaluate.")
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
