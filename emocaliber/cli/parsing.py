"""The argument parser: one line for each mistake, with the nearest command, choice or option.

parser = CommandParser(prog="emocaliber")
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from emocaliber.core.errors import did_you_mean


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
