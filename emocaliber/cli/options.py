"""Options that several commands share, and the types that parse them.

add_column_arguments(parser)            # score, compare, recalibrate, monitor, review: which column of a table is which
add_push_arguments(parser)              # data convert, export: upload the result to the Hugging Face Hub
add_api_key_argument(group)             # ask, chat, predict: how the model is reached and run
"""

from __future__ import annotations

import argparse
import re

from emocaliber.generation.engine import API_KEY_ENV
from emocaliber.reading.headers import HEADERS
from emocaliber.reading.tables import Columns

CELLS = {
    "confidence": "the confidence",
    "correct": "whether the prediction is correct",
    "label": "the true label",
    "prediction": "the predicted label",
    "id": "the row's id",
    "task": "the task, for tables that hold several",
    "group": "the subset of the task, such as in-distribution",
    "cluster": "the same value for rows that are not independent, such as those of one person; bootstrapped together",
}
"""What the cells of a column hold, by its role."""


def add_column_arguments(parser: argparse.ArgumentParser, *, labels: bool = True) -> None:
    """An option for each role of a column, `--percent` and, unless the command has its own, `--labels`."""
    group = parser.add_argument_group(
        "columns of a table (CSV, TSV, Excel, Parquet, JSON)",
        "Common column names are recognised, in upper or lower case. Name a column where yours is called something else"
        " or where several would match.",
    )
    for role, headers in HEADERS.items():
        group.add_argument(
            f"--{role}-column", metavar="NAME", help=f"{CELLS[role]} (default: {', '.join(headers[:3])}, ...)"
        )
    group.add_argument("--percent", action="store_true", help="confidences are percentages, from 0 to 100")
    if labels:
        group.add_argument(
            "--labels",
            metavar="NAMES",
            help="labels to choose from, as a list (joy,anger) or a taxonomy, for logs of inspect_ai,"
            " lm-evaluation-harness or VLMEvalKit whose items list none (default: the true labels in the log)",
        )


def columns_of(arguments: argparse.Namespace) -> Columns:
    """The columns that the options name."""
    from emocaliber.data.any_source import declared_labels

    named = {role: getattr(arguments, f"{role}_column") for role in HEADERS}
    labels = declared_labels(arguments.labels) if arguments.labels else ()
    return Columns(**named, percent=arguments.percent, labels=labels)


def add_push_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that upload the result to the Hugging Face Hub."""
    parser.add_argument(
        "--push",
        metavar="OWNER/NAME",
        help="also upload the result to this Hugging Face Hub repository, which is private unless --public is given;"
        " sign in first with `hf auth login`, or set HF_TOKEN",
    )
    parser.add_argument("--public", action="store_true", help="with --push: make the repository public")


def add_api_key_argument(group: argparse._ArgumentGroup) -> None:
    """The name of the variable that holds a server's key; the key itself never stands on a command line."""
    group.add_argument(
        "--api-key-env",
        default=API_KEY_ENV,
        metavar="NAME",
        help=f"environment variable that holds the server's API key (default: {API_KEY_ENV})",
    )


def add_device_argument(group: argparse._ArgumentGroup) -> None:
    """Where the transformers engine runs."""
    group.add_argument(
        "--device",
        type=device,
        default="auto",
        help="auto, cpu, cuda, cuda:N or mps (default: auto, a GPU if there is one)",
    )


def add_reasoning_tags_argument(group: argparse._ArgumentGroup) -> None:
    """Tags around reasoning that the reader does not know by itself."""
    group.add_argument(
        "--reasoning-tags",
        nargs=2,
        action="append",
        default=[],
        metavar=("OPEN", "CLOSE"),
        help="text that opens and closes the model's reasoning, such as '<musing>' '</musing>', for a model whose"
        " tags are not among those known (<think> and many others); may be repeated",
    )


def device(text: str) -> str:
    """A device as an option names it. Raises ArgumentTypeError for any other text."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a device; use auto, cpu, cuda, cuda:1 or mps")
    return text
