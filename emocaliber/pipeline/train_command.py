"""The verb `train`: its arguments, and the one stage they start.

emocaliber train recipes/tiny/1-label.yaml --out out/label
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("recipe", type=Path, help="a recipe such as recipes/tiny/1-label.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="replaces what the recipe says of a key")
    parser.add_argument("--adapter", type=Path, help="the adapter of the stage before (stages 2 and 3)")
    parser.add_argument("--out", type=Path, required=True, help="where adapter/ and log.jsonl are written")


def run(arguments: argparse.Namespace) -> None:
    """Train, and say where the result is."""
    from emocaliber.pipeline.recipes import read_recipe
    from emocaliber.pipeline.train import train

    train(read_recipe(arguments.recipe, arguments.overrides), arguments.adapter, arguments.out)
    print(f"The result: {arguments.out}")
