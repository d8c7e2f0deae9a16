"""Prediction sets and reasons for doubt in the command `recalibrate`: their options, fitting and applying.

emocaliber recalibrate fit calibration.jsonl --map sets --coverage 0.9 --out sets.json
emocaliber recalibrate fit calibration.jsonl --map doubt --pictures photos.parquet --model DIR --out doubt.json
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, get_args

from emocaliber.cli.console import progress
from emocaliber.cli.options import columns_of
from emocaliber.core.predictions import Held
from emocaliber.evaluation.metric_names import METRICS

if TYPE_CHECKING:
    from emocaliber.calibration.sets import SetMap

PICTURES = "Parquet file, or emoji or kaomoji, with the images of the rows, matched by id"


def add_sets(sets: argparse._ArgumentGroup) -> None:
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
        help="the answer that a set must contain: the true label, or the vote of a randomly drawn rater, for which rows"
        " need votes and no label (default: label)",
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


def add_doubt(doubt: argparse._ArgumentGroup) -> None:
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


def fit_sets(arguments: argparse.Namespace) -> None:
    """Fit prediction sets and print what they guarantee."""
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
    print(f"{describe_guarantee(fitted)}, by {fitted.score} of the {fitted.signal}")
    print(f"{fitted.pooled.rows:,} rows, {fitted.pooled.units:,} units, {scope}: {arguments.out}")
    for note in notes:
        print(f"Note: {note}")


def describe_guarantee(sets: SetMap) -> str:
    """What the sets guarantee, as the beginning of a sentence."""
    answer = "the label" if sets.holds is Held.LABEL else "the vote of a randomly drawn rater"
    return f"Prediction sets that contain {answer} with probability {sets.coverage:g}"


def apply_sets(arguments: argparse.Namespace) -> None:
    """Apply prediction sets and print their coverage and size on labelled rows."""
    from emocaliber.runs.prediction_sets import apply_sets_file

    applied = apply_sets_file(arguments.map, arguments.predictions, arguments.out, columns_of(arguments))
    print(f"{describe_guarantee(applied.sets)}: {arguments.out}")
    if applied.without:
        tasks = ", ".join(map(repr, applied.unknown_tasks))
        print(f"Note: {applied.without:,} of {applied.rows:,} rows have no set: none was fitted for the task {tasks}")
    if applied.card is None:
        print("No row has a true label, so there is nothing to evaluate.")
        return
    for method in (method for method in applied.card.methods if method.role == "method"):
        scores = method.find("all")
        values = [f"{METRICS[key].title} {value}" for key, value in scores.headline.items() if key.startswith("set_")]
        print(f"{method.name} ({scores.n:,} rows): {', '.join(values)}")


def fit_doubt(arguments: argparse.Namespace) -> None:
    """Fit reasons for doubt and print what they are based on."""
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
    images = 0 if fitted.familiar is None else len(fitted.familiar.distances)
    print(
        f"Reasons for doubt, fitted on {images:,} calibration images: at most a share of {fitted.false_alarms:g} of"
        f" such images is called unfamiliar; images are called ambiguous from {fitted.ambiguous:.3f} on:"
        f" {arguments.out}"
    )
    for note in notes:
        print(f"Note: {note}")


def apply_doubt(arguments: argparse.Namespace) -> None:
    """Apply reasons for doubt and print how often each occurs."""
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
