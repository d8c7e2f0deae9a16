"""The command `review`: have people label as few rows as a guarantee on the finished labels allows.

emocaliber review answers.parquet --error 0.05 --certainty 0.95 --out out/review
emocaliber review out/review                            # continue: read the filled-in tasks, say what is next
emocaliber review out/review --answers project-1.json   # read a Label Studio export
emocaliber review answers.parquet --sample labelled.csv --out out/review    # of a random sample labelled before
emocaliber review out/review --page                     # answer in the browser, with the keyboard
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from emocaliber.cli.options import add_column_arguments, columns_of
from emocaliber.core.errors import UserError
from emocaliber.core.outputs import Output

if TYPE_CHECKING:
    from emocaliber.runs.review import Review

PORT = 7861
DEFAULT_ERROR, DEFAULT_CERTAINTY = 0.05, 0.95
DRAWS = 200
"""Number of reviews that `--simulate` runs."""


def add_review(parser: argparse.ArgumentParser) -> None:
    """The arguments of `review`."""
    _add_guarantee(parser)
    _add_answers(parser)
    _add_steps(parser)
    add_column_arguments(parser, labels=False)
    parser.set_defaults(run=_review, output=_output)


def _add_guarantee(parser: argparse.ArgumentParser) -> None:
    """The predictions to review, and the guarantee on the finished labels."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="the predictions to review: what `predict --out` wrote, or a table with id, prediction and confidence; or"
        " the folder of a review, to continue it",
    )
    parser.add_argument(
        "--error",
        type=_share,
        metavar="SHARE",
        help=f"largest share of the finished labels that may be wrong, such as 0.05 or 5%% (default: {DEFAULT_ERROR})",
    )
    parser.add_argument(
        "--certainty",
        type=_share,
        metavar="SHARE",
        help=f"probability with which that is guaranteed, such as 0.95 (default: {DEFAULT_CERTAINTY})",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the review: its tasks, answers and finished labels"
    )


def _add_answers(parser: argparse.ArgumentParser) -> None:
    """People's answers, what they are shown, and where the finished labels go."""
    parser.add_argument(
        "--answers",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="also read people's answers from this file: a filled-in tasks.csv or tasks.jsonl, a Label Studio export,"
        " or a table with id and answer; may be repeated. Those in the review's folder are always read",
    )
    parser.add_argument(
        "--labels",
        metavar="NAMES",
        help="labels to choose from, a list (joy,anger) or a taxonomy, if the rows do not mention them all or a"
        " harness log lists none",
    )
    parser.add_argument(
        "--pictures",
        action="append",
        default=[],
        metavar="SOURCE",
        help="where the images are, as given to `predict`; may be repeated (default: what the manifest of `predict`"
        " says)",
    )
    parser.add_argument(
        "--set",
        default="labels.csv",
        metavar="NAME",
        dest="set_name",
        help="file name of the finished labels, ending in .csv, .jsonl or .parquet (default: labels.csv)",
    )


def _add_steps(parser: argparse.ArgumentParser) -> None:
    """How the review begins, and whether it is simulated or answered in the browser."""
    parser.add_argument(
        "--sample",
        type=_sample,
        metavar="N|FILE",
        help="size of the random sample that people label first (default: the size that should save most work); or, of"
        " rows that you drew at random and labelled already, a table with id and label",
    )
    parser.add_argument("--seed", type=_count, metavar="N", help="random seed of the sample (default: a random one)")
    parser.add_argument(
        "--simulate",
        action="store_true",
        help="start no review: simulate reviews of labelled predictions and print how much work they would have saved",
    )
    parser.add_argument(
        "--page", action="store_true", help="answer in the browser, with the keyboard, on a page of this machine"
    )
    parser.add_argument("--port", type=int, help=f"with --page: port; 0 picks a free one (default: {PORT})")


def _output(arguments: argparse.Namespace) -> Output | None:
    """What the review writes; without tasks.csv and tasks.jsonl, since people edit those."""
    from emocaliber.runs.review import ANSWERS
    from emocaliber.runs.review_files import STUDIO_FILE, STUDIO_SETUP
    from emocaliber.runs.review_record import RECORD
    from emocaliber.runs.review_result import GUARANTEE, GUARANTEE_TEXT, SUFFIXES

    folder = _folder(arguments)
    if folder is None:
        return None
    sets = {arguments.set_name, *(f"labels{suffix}" for suffix in SUFFIXES)}
    names = (RECORD, ANSWERS, STUDIO_FILE, STUDIO_SETUP, GUARANTEE, GUARANTEE_TEXT, *sorted(sets))
    return Output(folder, names, in_steps=True)


def _folder(arguments: argparse.Namespace) -> Path | None:
    """The review's folder; None for a simulation. Raises UserError if it is not given."""
    if arguments.simulate:
        return None
    if arguments.out is None and not _is_review(arguments.source):
        if not arguments.source.exists():
            raise UserError(f"{arguments.source}: there is no such file or folder")
        raise UserError(f"give a folder for the review: `emocaliber review {arguments.source} --out out/review`")
    folder: Path = arguments.out or arguments.source
    return folder


def _is_review(path: Path) -> bool:
    from emocaliber.runs.review_record import RECORD

    return (path / RECORD).is_file()


def _review(arguments: argparse.Namespace) -> None:
    """Take one step: read new answers, then print or serve what is next. Raises UserError for unusable answers."""
    from emocaliber.runs.review_steps import announce, next_step, take_answers

    if arguments.simulate:
        return _simulate(arguments)
    if arguments.port is not None and not arguments.page:
        raise UserError(f"--port {arguments.port} needs --page, which is served there; add --page or leave --port out")
    if Path(arguments.set_name).suffix not in (".csv", ".jsonl", ".parquet") or "/" in arguments.set_name:
        raise UserError(f"--set {arguments.set_name}: give a plain file name that ends in .csv, .jsonl or .parquet")
    review = _open(arguments)
    for sentence in announce(review):
        print(sentence)
    for sentence in take_answers(review, arguments.answers):
        print(sentence)
    if arguments.page:
        _serve(review, arguments)
    for sentence in next_step(review, arguments.set_name):
        print(sentence)
    return None


def _open(arguments: argparse.Namespace) -> Review:
    """The review in the folder, or a new one. Raises UserError if the options do not go with it."""
    from emocaliber.data.any_source import declared_labels
    from emocaliber.runs.review import open_review, start_review
    from emocaliber.runs.review_record import ReviewSettings, read_record
    from emocaliber.runs.review_rows import asked_about

    folder, source = _folder(arguments), arguments.source
    assert folder is not None
    record = read_record(folder) if _is_review(folder) else None
    labels, pictures = arguments.labels, tuple(arguments.pictures)
    if record is None:
        manifest_pictures, manifest_labels = asked_about(source)
        labels, pictures = labels or manifest_labels, pictures or manifest_pictures
    has_size = isinstance(arguments.sample, int)
    if isinstance(arguments.sample, Path) and not arguments.sample.is_file():
        raise UserError(
            f"--sample {arguments.sample}: this is neither a whole number nor a file; give the size of the sample, or"
            " a table with id and label"
        )
    settings = ReviewSettings(
        error=arguments.error or (record.error if record else DEFAULT_ERROR),
        certainty=arguments.certainty or (record.certainty if record else DEFAULT_CERTAINTY),
        labels=None if labels is None else declared_labels(labels),
        sample=arguments.sample if has_size else None,
        seed=arguments.seed,
        pictures=pictures,
        columns=columns_of(arguments),
        labelled=None if has_size else arguments.sample,
    )
    if record and folder == source:
        return open_review(folder, settings=settings)
    return start_review(folder, source, settings)


def _serve(review: Review, arguments: argparse.Namespace) -> None:
    """Serve the page until the person closes it, or Ctrl-C."""
    try:
        from emocaliber.chat.review_page import serve_desk
    except ModuleNotFoundError as missing:
        raise UserError(f"the page needs {missing.name}; install it with: pip install 'emocaliber[chat]'") from None

    from emocaliber.chat.desk import ReviewDesk
    from emocaliber.runs.review_rows import pictures_of

    port = PORT if arguments.port is None else arguments.port
    serve_desk(ReviewDesk(review, pictures_of(review.record.pictures), arguments.set_name), port)


def _simulate(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.review_steps import simulate

    ignored = {"--out": arguments.out, "--answers": arguments.answers, "--pictures": arguments.pictures,
               "--page": arguments.page, "--port": arguments.port is not None}  # fmt: skip
    if name := next((name for name, value in ignored.items() if value), None):
        raise UserError(f"{name} has no meaning with --simulate, which starts no review; leave it out")
    if isinstance(arguments.sample, Path):
        raise UserError(f"--sample {arguments.sample}: --simulate draws its samples itself; give their size")
    if _is_review(arguments.source):
        raise UserError(f"{arguments.source} is a review; give --simulate labelled predictions instead")
    error, certainty = arguments.error or DEFAULT_ERROR, arguments.certainty or DEFAULT_CERTAINTY
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


def _sample(text: str) -> int | Path:
    return _count(text) if text.isdecimal() else Path(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)
