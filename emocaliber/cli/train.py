"""The verb `train`: its arguments, and the one stage they start.

emocaliber train recipes/tiny/1-label.yaml --out out/label
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from emocaliber.core.gpus import take_one_gpu
from emocaliber.core.outputs import Output

if TYPE_CHECKING:
    from emocaliber.stages.recipe import Recipe

TRAINED = ("inputs.json", "done.json", "log.jsonl", "held_out.jsonl", "held_out_start.json", "asked-*.jsonl",
           "profile.png")  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("recipe", type=Path, help="a recipe such as recipes/tiny/1-label.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="replaces what the recipe says of a key")
    parser.add_argument("--adapter", type=Path, help="the adapter of the stage before (stages 2 and 3)")
    parser.add_argument("--out", type=Path, required=True, help="where adapter/ and log.jsonl are written")
    parser.set_defaults(output=lambda a: Output(a.out, TRAINED, in_steps=True))
    parser.add_argument("--profile", action="store_true", help="say where the time goes, and draw it in profile.png")


def run(arguments: argparse.Namespace) -> None:
    """Train, and say where the result is."""
    if sentence := take_one_gpu(os.environ):
        print(sentence, file=sys.stderr)
    from emocaliber.runs.recipes import read_recipe
    from emocaliber.runs.train import train

    recipe = read_recipe(arguments.recipe, arguments.overrides)
    if arguments.profile:
        _profile(recipe, arguments)
    else:
        train(recipe, arguments.adapter, arguments.out)
    print(f"The result: {arguments.out}")


def _profile(recipe: Recipe, arguments: argparse.Namespace) -> None:
    from emocaliber.runs.profile_report import draw_profile, profile_table
    from emocaliber.runs.train import train
    from emocaliber.stages.profiling import profiled

    with profiled() as profile:
        train(recipe, arguments.adapter, arguments.out)
    print(profile_table(profile))
    print(f"Drawn in {draw_profile(profile, arguments.out)}")
