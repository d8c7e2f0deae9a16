"""The verbs `ask` and `chat`: their arguments, and what they start.

emocaliber ask face.png --candidates "joy, sadness, fear"
emocaliber chat --port 7860
"""

from __future__ import annotations

import argparse

from emocaliber.chat.models import add_model_arguments, model_choice
from emocaliber.chat.questions import TAXONOMIES, read_candidates

DEFAULT_THRESHOLD = 0.7
PORT = 7860


def add_ask_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `ask`."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG or WebP files")
    _shared(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a picture, and nothing else, on stdout")


def _shared(parser: argparse.ArgumentParser) -> None:
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--taxonomy",
        default=TAXONOMIES[0].name,
        choices=[one.name for one in TAXONOMIES],
        help=f"the feelings to choose from (default: {TAXONOMIES[0].name})",
    )
    choice.add_argument("--candidates", help='feelings of your own, separated by commas: "joy, sadness, fear"')
    parser.add_argument(
        "--threshold",
        type=_share,
        default=DEFAULT_THRESHOLD,
        help=f"the least stated confidence, 0 to 1, that is trusted (default: {DEFAULT_THRESHOLD})",
    )
    add_model_arguments(parser)


def ask(arguments: argparse.Namespace) -> None:
    """Ask about each picture and print the answers. Raises UserError where one has no answer."""
    from emocaliber.chat.terminal import ask_and_print

    ask_and_print(
        arguments.images,
        model_choice(arguments),
        _candidates(arguments),
        threshold=arguments.threshold,
        as_json=arguments.json,
    )


def _candidates(arguments: argparse.Namespace) -> tuple[str, ...]:
    if arguments.candidates is not None:
        return read_candidates(arguments.candidates)
    return next(one.labels for one in TAXONOMIES if one.name == arguments.taxonomy)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value
