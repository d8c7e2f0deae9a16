"""The verb `run`: its arguments, and the whole road they start.

emocaliber run recipes/tiny --out out/demo
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from emocaliber.core.gpus import take_one_gpu
from emocaliber.core.outputs import Output

REPORT = ("report/report.*", "report/scorecard.json", "report/inputs.json", "report/done.json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("recipes", type=Path, help="a folder with 1-label.yaml, 2-verbalize.yaml and 3-calibrate.yaml")
    parser.add_argument("--out", type=Path, required=True, help="where everything is written; finished steps are kept")
    parser.set_defaults(output=lambda a: Output(a.out, REPORT, in_steps=True))
    parser.add_argument("--seed", type=int, help="a seed in place of the recipes' own")


def run(arguments: argparse.Namespace) -> None:
    """Run the stages, judge them, and say where the report is."""
    if sentence := take_one_gpu(os.environ):
        print(sentence, file=sys.stderr)
    from emocaliber.runs.run import run as run_recipes

    report = run_recipes(arguments.recipes, arguments.out, arguments.seed)
    print(f"The report: {report}")
