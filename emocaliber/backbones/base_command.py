"""The verb `base`: its arguments, and the tiny backbone they make.

emocaliber base --out out/base
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("--out", type=Path, required=True, help="where the model and its processor are written")
    parser.add_argument(
        "--steps",
        type=int,
        default=2000,
        help="how long to train; 2000 took 30 minutes on 2 CPU cores that others used too",
    )


def run(arguments: argparse.Namespace) -> None:
    """Teach it."""
    from emocaliber.backbones.base import BaseSettings, make_base

    make_base(arguments.out, BaseSettings(steps=arguments.steps))
