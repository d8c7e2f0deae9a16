"""The command line: one module for each command."""

from emocaliber.cli.main import main

__all__ = ["main"]
