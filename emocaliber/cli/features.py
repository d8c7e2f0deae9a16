"""The verb `emocaliber features`: its arguments, and the files of views that they ask for.

Loads no torch before it runs.

    emocaliber features --suite eval/suites/tiny.yaml --out out/features
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import Output
from emocaliber.data.embedded import FILES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument("--data", action="append", default=[], metavar="DATA",
                        help=f"{' or '.join(FILES)} (embedded), or a Parquet file; may be repeated")  # fmt: skip
    parser.add_argument("--suite", type=Path, help="the embedded tasks of a file such as eval/suites/tiny.yaml")
    parser.add_argument("--model", default="tiny", help="a model's folder or hub name (default: the tiny one)")
    parser.add_argument("--question", help="what the model is asked for its caption")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--out", type=Path, required=True, help="folder for a file TASK.npz for each task")
    parser.set_defaults(output=lambda a: Output(a.out, ("*.npz", "*.partial")))


def run(arguments: argparse.Namespace) -> None:
    """Write the files of views."""
    from rich.console import Console

    from emocaliber.runs.features import suite_data, write_features

    data = [*arguments.data, *(suite_data(arguments.suite) if arguments.suite else [])]
    if not data:
        raise UserError("no data: give --data or --suite")
    with Console(stderr=True).status("loading") as status:
        for path in write_features(
            data, arguments.model, arguments.out, arguments.question, arguments.batch_size, status.update
        ):
            print(path)
