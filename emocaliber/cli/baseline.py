"""The verb `emocaliber baseline`: its arguments, and the experiment they describe.

Loads no torch before it runs, so that `emocaliber --help` stays quick.

    emocaliber baseline tmc --views FILE.npz --out DIR
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import SCORECARD, Output

BASELINE = ("predictions.jsonl", "calibration.jsonl", "estimator/*.*", "estimator/*/*.*", "features/*.npz",
            "features/*.partial")  # fmt: skip
METHODS = ("softmax", "edl", "tmc", "etmc", "ecml", "ter", "amber2", "ensemble", "dropout")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("name", choices=METHODS, metavar="NAME", help=f"one of {', '.join(METHODS)}")
    parser.add_argument("--views", type=Path, action="append", default=[], metavar="FILE",
                        help=".npz or .parquet of one task; may be repeated. Without it: the suite's tasks, seen by the"
                        " tiny model, in OUT/features (see emocaliber features)")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="where predictions and scorecard.json are written")
    parser.set_defaults(output=lambda a: Output(a.out, (*SCORECARD, *BASELINE)))
    parser.add_argument("--suite", type=Path, help="a file such as eval/suites/tiny.yaml: its tasks, labels and groups")
    parser.add_argument("--recipe", type=Path, help="settings, such as recipes/baselines/tmc-public.yaml")
    parser.add_argument("--seed", type=int, help="a seed in place of the recipe's own")


def run(arguments: argparse.Namespace) -> None:
    """Train, predict, score; print the scorecard's tables."""
    from rich.console import Console

    from emocaliber.baselines.experiment import run_baseline
    from emocaliber.reporting.score_report import summary_document
    from emocaliber.reporting.terminal import render_terminal

    console = Console()
    with Console(stderr=True).status("reading") as status:
        card = run_baseline(
            arguments.name,
            arguments.views or _views_of_suite(arguments.suite, arguments.out / "features", status.update),
            arguments.out,
            recipe=arguments.recipe,
            seed=arguments.seed,
            suite=arguments.suite,
            on_progress=status.update,
        )
    for part in render_terminal(summary_document(card)):
        console.print(part)
    console.print(f"The scorecard: {arguments.out / 'scorecard.json'}", highlight=False)


def _views_of_suite(suite: Path | None, folder: Path, on_progress: Callable[[str], None]) -> list[Path]:
    """The suite's files of views, written where they are not there yet."""
    from emocaliber.runs.features import suite_data, write_features

    if suite is None:
        raise UserError("nothing to train on: give --views or --suite")
    tasks = suite_data(suite)
    if missing := [task for task in tasks if not (folder / f"{task}.npz").is_file()]:
        write_features(missing, "tiny", folder, on_progress=on_progress)
    return [folder / f"{task}.npz" for task in tasks]
