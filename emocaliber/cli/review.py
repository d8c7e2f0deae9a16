"""The command `review`: people look at as few rows as a guarantee on the finished set needs.

emocaliber review answers.parquet --error 0.05 --certainty 0.95 --out out/review
emocaliber review out/review                            # goes on: takes what was filled in, says what is next
emocaliber review out/review --answers project-1.json   # takes a Label Studio export
emocaliber review out/review --page                     # answer in the browser, with the keyboard
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from emocaliber.cli.judge import add_column_arguments, columns_of
from emocaliber.core.errors import UserError
from emocaliber.core.outputs import Output

if TYPE_CHECKING:
    from emocaliber.runs.review import Review

PORT = 7861
DRAWS = 200
"""Reviews that `--simulate` plays through."""


def add_review(parser: argparse.ArgumentParser) -> None:
    """The arguments of `review`."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="predictions: what `predict --out` wrote, or a table with id, prediction and confidence; or the folder of"
        " a review that was begun",
    )
    parser.add_argument(
        "--error", type=_share, metavar="SHARE", help="at most this share of the finished set is wrong (default: 0.05)"
    )
    parser.add_argument("--certainty", type=_share, metavar="SHARE", help="with this probability (default: 0.95)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the review's folder: tasks, answers, the set")
    parser.add_argument(
        "--answers",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="take answers: a filled-in tasks.csv or tasks.jsonl, a Label Studio export, or a table with id and answer;"
        " may be repeated",
    )
    parser.add_argument("--labels", metavar="NAMES", help="labels to choose from, where the rows do not name them all,"
                        " or the log of a harness names none")  # fmt: skip
    parser.add_argument(
        "--pictures",
        action="append",
        default=[],
        metavar="SOURCE",
        help="where the pictures are: what `predict` was given (default: as its manifest says)",
    )
    parser.add_argument(
        "--set",
        default="labels.csv",
        metavar="NAME",
        dest="set_name",
        help="name of the finished set: .csv, .jsonl or .parquet (default: labels.csv)",
    )
    parser.add_argument("--sample", type=_count, metavar="N", help="rows to draw first (default: the best number)")
    parser.add_argument("--seed", type=_count, metavar="N", help="seed of the draw (default: chance)")
    parser.add_argument(
        "--simulate", action="store_true", help="of labelled predictions: what a review would have saved, without one"
    )
    parser.add_argument("--page", action="store_true", help="answer on a page on this machine, with the keyboard")
    parser.add_argument("--port", type=int, default=PORT, help=f"of the page, 0 for any free one (default: {PORT})")
    add_column_arguments(parser, labels=False)
    parser.set_defaults(run=_review, output=_output)


def _output(arguments: argparse.Namespace) -> Output | None:
    """Of tasks.csv and tasks.jsonl people make their own: they are set aside, not refused, where they were changed."""
    from emocaliber.runs.review import ANSWERS, RECORD
    from emocaliber.runs.review_files import STUDIO_FILE, STUDIO_SETUP
    from emocaliber.runs.review_result import GUARANTEE, GUARANTEE_TEXT, SUFFIXES

    folder = _folder(arguments)
    if folder is None:
        return None
    sets = {arguments.set_name, *(f"labels{suffix}" for suffix in SUFFIXES)}
    names = (RECORD, ANSWERS, STUDIO_FILE, STUDIO_SETUP, GUARANTEE, GUARANTEE_TEXT, *sorted(sets))
    return Output(folder, names, in_steps=True)


def _folder(arguments: argparse.Namespace) -> Path | None:
    """The review's folder; None for a simulation. Raises UserError where it is not named."""
    if arguments.simulate:
        return None
    if arguments.out is None and not _is_review(arguments.source):
        raise UserError(f"name a folder for the review: `emocaliber review {arguments.source} --out out/review`")
    folder: Path = arguments.out or arguments.source
    return folder


def _is_review(path: Path) -> bool:
    from emocaliber.runs.review import RECORD

    return (path / RECORD).is_file()


def _review(arguments: argparse.Namespace) -> None:
    """One step: take answers, and say or show what is next. Raises UserError where something must be mended first."""
    from emocaliber.runs.review_steps import announce, next_step, take_answers

    if arguments.simulate:
        return _simulate(arguments)
    if Path(arguments.set_name).suffix not in (".csv", ".jsonl", ".parquet") or "/" in arguments.set_name:
        raise UserError(f"--set {arguments.set_name}: a file name that ends in .csv, .jsonl or .parquet")
    review = _opened(arguments)
    for sentence in announce(review):
        print(sentence)
    for sentence in take_answers(review, arguments.answers):
        print(sentence)
    if arguments.page:
        _serve(review, arguments)
    for sentence in next_step(review, arguments.set_name):
        print(sentence)
    return None


def _opened(arguments: argparse.Namespace) -> Review:
    from emocaliber.data.any_source import declared_labels
    from emocaliber.runs.review import ReviewSettings, open_review, read_record, start_review
    from emocaliber.runs.review_rows import asked_about

    folder = _folder(arguments)
    assert folder is not None
    begun = read_record(folder) if _is_review(folder) else None
    error = arguments.error or (begun.error if begun else 0.05)
    certainty = arguments.certainty or (begun.certainty if begun else 0.95)
    if begun and folder == arguments.source and (error, certainty) == (begun.error, begun.certainty):
        return open_review(folder)
    source = Path(begun.predictions) if begun and folder == arguments.source else arguments.source
    pictures, asked = asked_about(source)
    named = arguments.labels or asked
    labels = None if named is None else declared_labels(named)
    pictures = tuple(arguments.pictures) or pictures
    settings = ReviewSettings(
        error, certainty, labels, arguments.sample, arguments.seed, pictures, columns_of(arguments)
    )
    return start_review(folder, source, settings)


def _serve(review: Review, arguments: argparse.Namespace) -> None:
    """The page, until everything is answered and it is closed, or Ctrl-C."""
    try:
        from emocaliber.chat.review_page import serve_desk
    except ModuleNotFoundError as missing:
        raise UserError(f"the page needs {missing.name}; install it with: pip install 'emocaliber[chat]'") from None

    from emocaliber.chat.desk import ReviewDesk
    from emocaliber.runs.review_rows import pictures_of

    serve_desk(ReviewDesk(review, pictures_of(review.record.pictures), arguments.set_name), arguments.port)


def _simulate(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.review_steps import simulate

    error, certainty = arguments.error or 0.05, arguments.certainty or 0.95
    columns, seed = columns_of(arguments), arguments.seed or 0
    for sentence in simulate(arguments.source, error, certainty, arguments.sample, DRAWS, seed, columns):
        print(sentence)


def _share(text: str) -> float:
    try:
        value = float(text.rstrip("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share between 0 and 1, such as 0.05 or 5%")
    return value


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)
