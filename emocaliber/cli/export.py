"""The verb `export`: its arguments, and the export they describe.

emocaliber export out/3-calibrate --scorecard out/score --merge --out out/model
"""

from __future__ import annotations

import argparse
from pathlib import Path

from emocaliber.core.outputs import Output


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("stage", type=Path, help="the --out of a finished `emocaliber train`")
    parser.add_argument("--scorecard", type=Path, help="the --out of `emocaliber score`, to be shown in the card")
    parser.add_argument("--merge", action="store_true", help="add the adapter into the base: one whole model")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write, which must not exist yet")
    parser.set_defaults(output=lambda a: Output(a.out, must_be_new=True))


def run(arguments: argparse.Namespace) -> None:
    """Write it and say where."""
    from emocaliber.runs.export import export, finished_stage

    stage = finished_stage(arguments.stage)
    print(f"Written: {export(stage, arguments.out, merge=arguments.merge, scorecard=arguments.scorecard)}")
