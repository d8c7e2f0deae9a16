"""Commands for others: `export` (a trained model with its card) and `env` (versions and devices, for a bug report).

emocaliber export out/3-calibrate --scorecard out/score --merge --out out/model
emocaliber env
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.core.outputs import Output


def add_export(parser: argparse.ArgumentParser) -> None:
    """The arguments of `export`."""
    parser.add_argument("stage", type=Path, metavar="FOLDER", help="the --out of a finished `emocaliber train`")
    parser.add_argument("--scorecard", type=Path, metavar="FOLDER", help="folder of `emocaliber score`, for the card")
    parser.add_argument("--merge", action="store_true", help="merge the adapter into the base model")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="a folder that does not exist yet")
    parser.set_defaults(run=_export, output=lambda a: Output(a.out, must_be_new=True))


def add_env(parser: argparse.ArgumentParser) -> None:
    """`env` takes no arguments."""
    parser.set_defaults(run=_env)


def _export(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.export import export, finished_stage

    stage = finished_stage(arguments.stage)
    print(f"Written: {export(stage, arguments.out, merge=arguments.merge, scorecard=arguments.scorecard)}")


def _env(_: argparse.Namespace) -> None:
    from emocaliber.core.environment import describe

    for name, value in describe():
        print(f"{name:<24}{value}")
