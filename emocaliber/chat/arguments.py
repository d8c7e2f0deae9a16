"""What the verbs `ask` and `chat` share: the feelings to choose from, the trusted threshold, and the model."""

from __future__ import annotations

import argparse

from emocaliber.chat.models import add_model_arguments
from emocaliber.chat.questions import read_candidates
from emocaliber.core.taxonomy import KAOMOJI_10, MIKELS_8, TAXONOMIES

DEFAULT_THRESHOLD = 0.7


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of both verbs."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--taxonomy",
        choices=sorted(TAXONOMIES),
        metavar="NAME",
        help=f"the feelings to choose from: {', '.join(TAXONOMIES)} (default: {MIKELS_8.name};"
        f" {KAOMOJI_10.name} for the embedded model)",
    )
    choice.add_argument("--candidates", help='feelings of your own, separated by commas: "joy, sadness, fear"')
    parser.add_argument(
        "--threshold",
        type=_share,
        default=DEFAULT_THRESHOLD,
        help=f"the least stated confidence, 0 to 1, that is trusted (default: {DEFAULT_THRESHOLD})",
    )
    add_model_arguments(parser)


def candidates_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The feelings asked for, or those that suit the model."""
    if arguments.candidates is not None:
        return read_candidates(arguments.candidates)
    if arguments.taxonomy is not None:
        return TAXONOMIES[arguments.taxonomy].labels
    return (KAOMOJI_10 if arguments.model is None else MIKELS_8).labels


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return value
