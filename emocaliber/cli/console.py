"""The terminal: a parser that reports a mistake in one line, a progress line, and other libraries kept quiet.

silence_libraries()                              # hides their notices; this project's warnings are still shown
parser = CommandParser(prog="emocaliber")        # suggests the nearest command, choice or option
"""

from __future__ import annotations

import argparse
import logging
import os
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
"""Environment variables that the libraries read on import. Values that are already set are kept."""


def silence_libraries() -> None:
    """Hide other libraries' warnings and all log lines below errors. Call it before they are imported."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)
    for library in LIBRARIES:
        logging.getLogger(library).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=rf"{library}(\.|$)")


@contextmanager
def progress(text: str) -> Iterator[Callable[[str], None]]:
    """Show a status line on stderr; yields a function that replaces its text (which is not parsed as markup)."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status(Text(text)) as status:
        yield lambda now: status.update(Text(now))


class CommandParser(argparse.ArgumentParser):
    """An argument parser that reports a mistake in one line with exit code 2, and accepts no abbreviated options."""

    def __init__(self, **named: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **named})
        self.set_defaults(parser=self)

    def error(self, message: str) -> NoReturn:
        """Print one line that says what is wrong and where the help is, and exit."""
        print(f"{self.prog}: {message}; see `{self.prog} --help`", file=sys.stderr)
        raise SystemExit(2)

    def parse_command(self, arguments: Sequence[str] | None) -> argparse.Namespace:
        """Parse one command. An unknown option exits with one line that suggests the nearest one."""
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
    """Switch off other libraries' progress bars; this project prints its own. Call it before they are imported."""
    for name in ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(name, "1")
