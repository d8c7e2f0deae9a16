"""The command `env`: versions and devices, to be pasted into a bug report.

emocaliber env
"""

from __future__ import annotations

import argparse

from emocaliber.core.environment import describe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb takes none."""


def run(_: argparse.Namespace) -> None:
    """Print versions and devices."""
    for name, value in describe():
        print(f"{name:<24}{value}")
