"""The verb `ask`: its arguments, and the questions they ask in the terminal.

emocaliber ask face.png --candidates "joy, sadness, fear"
"""

from __future__ import annotations

import argparse

from emocaliber.chat.arguments import add_shared_arguments, candidates_of
from emocaliber.chat.models import model_choice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG or WebP files")
    add_shared_arguments(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object a picture, and nothing else, on stdout")


def run(arguments: argparse.Namespace) -> None:
    """Ask about each picture and print the answers. Raises UserError where one has no answer."""
    from emocaliber.chat.terminal import ask_and_print

    ask_and_print(
        arguments.images,
        model_choice(arguments),
        candidates_of(arguments),
        threshold=arguments.threshold,
        as_json=arguments.json,
    )
