"""The command `baseline`: extract features from a frozen model, and train an evidential or other network on them.

emocaliber baseline features --suite eval/suites/tiny.yaml --out out/features
emocaliber baseline train tmc --views out/features/emoji.npz --out out/tmc
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from emocaliber.cli.console import progress
from emocaliber.core.errors import UserError
from emocaliber.core.outputs import SCORECARD, Output
from emocaliber.data.embedded import FILES

METHODS = ("softmax", "edl", "tmc", "etmc", "ecml", "ter", "amber2", "ensemble", "dropout")
TRAINED = ("predictions.jsonl", "calibration.jsonl", "estimator/*.*", "estimator/*/*.*", "features/*.npz",
           "features/*.partial")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The commands below `baseline`."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_train(commands.add_parser("train", help="train a baseline, predict and evaluate"))
    _add_features(commands.add_parser("features", help="extract features from a frozen model, to train baselines on"))


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=METHODS, metavar="NAME", help=f"one of {', '.join(METHODS)}")
    parser.add_argument("--views", type=Path, action="append", default=[], metavar="FILE",
                        help="features of one task, .npz or .parquet; may be repeated (default: extract the features of"
                        " the tasks of --suite with the tiny model, into OUT/features)")  # fmt: skip
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for the predictions and the scorecard"
    )
    parser.add_argument(
        "--suite",
        type=Path,
        metavar="FILE",
        help="suite file that lists tasks, labels and groups, such as eval/suites/tiny.yaml",
    )
    parser.add_argument(
        "--recipe", type=Path, metavar="FILE", help="hyperparameters, such as recipes/baselines/tmc-public.yaml"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="random seed, instead of the recipe's")
    parser.set_defaults(run=_train, output=lambda a: Output(a.out, (*SCORECARD, *TRAINED)))


def _add_features(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", action="append", default=[], metavar="DATA",
                        help=f"{' or '.join(FILES)} (data that ship with the package), or a Parquet file; may be"
                        " repeated")  # fmt: skip
    parser.add_argument("--suite", type=Path, metavar="FILE", help="also the shipped data of this suite file's tasks")
    parser.add_argument(
        "--model", default="tiny", metavar="MODEL", help="model folder or Hugging Face Hub name (default: tiny)"
    )
    parser.add_argument("--question", metavar="TEXT", help="what the model is asked, for the caption features"
                        " (default: Describe the drawing.)")  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="images per batch (default: 64)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for one file per task, TASK.npz"
    )
    parser.set_defaults(run=_features, output=lambda a: Output(a.out, ("*.npz", "*.partial")))


def _train(arguments: argparse.Namespace) -> None:
    from rich.console import Console

    from emocaliber.reporting.score_report import summary_document
    from emocaliber.reporting.terminal import render_terminal
    from emocaliber.runs.compare import run_baseline

    console = Console()
    with progress("reading") as report:
        card = run_baseline(
            arguments.name,
            arguments.views or _views_of_suite(arguments.suite, arguments.out / "features", report),
            arguments.out,
            recipe=arguments.recipe,
            seed=arguments.seed,
            suite=arguments.suite,
            on_progress=report,
        )
    for part in render_terminal(summary_document(card)):
        console.print(part)
    console.print(f"The scorecard: {arguments.out / 'scorecard.json'}", highlight=False)


def _views_of_suite(suite: Path | None, folder: Path, on_progress: Callable[[str], None]) -> list[Path]:
    """The feature files of the suite's tasks; those that do not exist yet are written."""
    from emocaliber.runs.compare import suite_data, write_features

    if suite is None:
        raise UserError("nothing to train on: give --views or --suite")
    tasks = suite_data(suite)
    if missing := [task for task in tasks if not (folder / f"{task}.npz").is_file()]:
        write_features(missing, "tiny", folder, on_progress=on_progress)
    return [folder / f"{task}.npz" for task in tasks]


def _features(arguments: argparse.Namespace) -> None:
    from emocaliber.data.embedded import check_source
    from emocaliber.models.location import check_model
    from emocaliber.runs.compare import suite_data, write_features

    data = [*arguments.data, *(suite_data(arguments.suite) if arguments.suite else [])]
    if not data:
        raise UserError("no data: give --data or --suite")
    for name in data:
        check_source(name, "--data")
    check_model(arguments.model)
    with progress("loading") as report:
        for path in write_features(
            data, arguments.model, arguments.out, arguments.question, arguments.batch_size, report
        ):
            print(path)
