"""The terminal: a parser that answers a mistake in one line, progress on one line, and silence of other libraries.

silence_libraries()                              # their notices; errors and warnings of this project are shown
parser = CommandParser(prog="emocaliber")        # names the nearest command, choice or option
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from emocaliber.core.errors import did_you_mean

LIBRARIES = ("accelerate", "bitsandbytes", "datasets", "huggingface_hub", "kernels", "peft", "torch", "torchao",
             "transformers", "trl", "vllm")  # fmt: skip
VARIABLES = {"TRANSFORMERS_VERBOSITY": "error", "VLLM_LOGGING_LEVEL": "ERROR", "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
             "TOKENIZERS_PARALLELISM": "false"}  # fmt: skip
"""What the libraries read when they are imported; a value that is set already stays."""


def silence_libraries() -> None:
    """Before they are imported: no warnings and no log lines below an error. Warnings of this project are shown."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """A line on stderr that the function it yields replaces; square brackets are shown as they are."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(text)) as status:
        yield lambda now: status.update(Text(now))


class CommandParser(argparse.ArgumentParser):
    """A parser that answers a mistake with one line and exit code 2, and takes no abbreviated options."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **named})
        self.set_defaults(parser=self)

    def error(self, message: str) -> NoReturn:
        """One line: what is wrong, and where to read on."""
        print(f"{self.prog}: {message}; see `{self.prog} --help`", file=sys.stderr)
        raise SystemExit(2)

    def parse_command(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """The arguments of one command. Exits with one line where an option is unknown, naming the nearest."""
        parsed, unknown = self.parse_known_args(arguments)
        if unknown:
            word = unknown[0].partition("=")[0]
            parsed.parser.error(f"unknown argument {word!r}{did_you_mean(word, parsed.parser._option_string_actions)}")
        return parsed

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                action, f"{value!r} is not one of {', '.join(choices)}{did_you_mean(value, choices)}"
            )


def no_progress_bars() -> None:
    """Other libraries' progress bars stay away: ours is one of its own. Before they are imported."""
    for name in ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(name, "1")


def device(text: str) -> str:
    """A device as an option names it. Raises ArgumentTypeError for another text."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a device; give cpu, cuda, cuda:1 or mps")
    return text


def add_push_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that send what was written to the Hugging Face Hub."""
    parser.add_argument(
        "--push",
        metavar="OWNER/NAME",
        help="then send it to this repository on the Hugging Face Hub, private unless --public is given; signed in by"
        " `hf auth login` or HF_TOKEN",
    )
    parser.add_argument("--public", action="store_true", help="with --push: for everybody to see")
