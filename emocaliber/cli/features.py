"""The verb `emocaliber features`: its arguments, and the files of views that they ask for.

Loads no torch before it runs.

    emocaliber features --suite eval/suites/tiny.yaml --out out/features
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.data.embedded import FILES, load
from emocaliber.data.parquet import read_samples
from emocaliber.evaluation.suite import load_suite

QUESTIONS = {"kaomoji": "Read the signs."}
QUESTION = "Describe the drawing."
"""What the backbone is asked for its caption: the tiny one has learnt to read signs and to describe drawings."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--data", action="append", default=[], metavar="DATA",
                        help=f"{' or '.join(FILES)} (embedded), or a Parquet file; may be repeated")  # fmt: skip
    parser.add_argument("--suite", type=Path, help="the embedded tasks of a file such as eval/suites/tiny.yaml")
    parser.add_argument("--model", default="tiny", help="a model's folder or hub name (default: the tiny one)")
    parser.add_argument("--question", help="what the model is asked for its caption")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--out", type=Path, required=True, help="folder for a file TASK.npz for each task")


def run(arguments: argparse.Namespace) -> None:
    """Write the files of views."""
    from rich.console import Console

    data = [*arguments.data, *(suite_data(arguments.suite) if arguments.suite else [])]
    if not data:
        raise UserError("no data: give --data or --suite")
    with Console(stderr=True).status("loading") as status:
        for path in write_features(
            data, arguments.model, arguments.out, arguments.question, arguments.batch_size, status.update
        ):
            print(path)


def suite_data(suite: Path) -> list[str]:
    """The names of a suite's tasks. Raises UserError where one of them does not come with the package."""
    tasks = list(load_suite(suite).tasks)
    if unknown := [task for task in tasks if task not in FILES]:
        missing = f"{suite}: task {unknown[0]!r} does not come with the package"
        raise UserError(f"{missing}; write its views with `emocaliber features --data FILE.parquet`")
    return tasks


def write_features(
    data: Sequence[str],
    model: str,
    out: Path,
    question: str | None = None,
    batch_size: int = 64,
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """A file of views for each of the data, each of one task; returns their paths."""
    from emocaliber.baselines.features import FeatureExtractor, view_set
    from emocaliber.baselines.view_files import write_views
    from emocaliber.models.tiny import embedded_base

    folder = embedded_base() if model == "tiny" else model
    written = []
    for name in data:
        asked = question or QUESTIONS.get(name, QUESTION)
        found = view_set(_samples(name), FeatureExtractor(folder, asked, batch_size=batch_size), on_progress)
        written.append(out / f"{found.task}.npz")
        write_views(written[-1], found)
    return written


def _samples(name: str) -> list[Sample]:
    return load(name) if name in FILES else read_samples(Path(name))
