"""`emocaliber ask`: its arguments, and the questions they ask in the terminal.

emocaliber ask face.png --labels "joy, sadness, fear"
"""

from __future__ import annotations

import argparse

from emocaliber.chat.model import add_model_arguments, model_choice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG, JPEG or WebP files")
    parser.add_argument("--json", action="store_true", help="write one JSON object per picture to stdout, nothing else")
    add_model_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Ask about each picture and print the answers. Raises UserError where an answer is unreadable."""
    from emocaliber.chat.terminal import ask_and_print, check_files

    check_files(arguments.images)
    choice = model_choice(arguments)
    ask_and_print(arguments.images, choice, threshold=arguments.threshold, as_json=arguments.json)
