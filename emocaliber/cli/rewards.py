"""The verb `rewards`: its arguments, and the page they draw.

emocaliber rewards brier-1 log-2 --out rewards.html
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("names", nargs="*", metavar="REWARD", help="such as brier-1 or log-2 (default: nine of them)")
    parser.add_argument("--out", type=Path, default=Path("rewards.html"), help="the page (default: rewards.html)")
    parser.set_defaults(output=lambda a: Output(a.out, is_file=True))


def run(arguments: argparse.Namespace) -> None:
    """Draw the rewards. Raises UserError for a name that is no reward."""
    from emocaliber.reporting.rewards_page import write_rewards_page
    from emocaliber.stages.rewards import DRAWN

    try:
        write_rewards_page(arguments.out, arguments.names or DRAWN)
    except ValueError as error:
        raise UserError(str(error)) from None
    print(f"The rewards: {arguments.out}")
