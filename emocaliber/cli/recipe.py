"""The verb `recipe`: its arguments, and what each of its words prints.

emocaliber recipe validate recipes/qwen2.5-vl-7b          # a folder: its stages and its evaluate.yaml
emocaliber recipe show recipes/qwen2.5-vl-7b/1-label.yaml learning_rate=1e-4
emocaliber recipe cp qwen2.5-vl-7b my-recipes
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words validate, show and cp, and what each takes."""
    words = parser.add_subparsers(metavar="WORD", required=True)
    check = words.add_parser("validate", help="check recipes, or a folder of them; KEY=VALUE replaces a key in each")
    check.add_argument("recipes", nargs="+", metavar="RECIPE|KEY=VALUE")
    check.set_defaults(word=_validate)
    show = words.add_parser("show", help="print every key with its value, those that differ from the default marked")
    show.add_argument("recipe", type=Path)
    show.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    show.set_defaults(word=_show)
    copy = words.add_parser("cp", help="copy a folder of recipes that ship, to be changed; without a name, list them")
    copy.add_argument("name", nargs="?")
    copy.add_argument("target", nargs="?", type=Path)
    copy.set_defaults(word=_copy)


def run(arguments: argparse.Namespace) -> None:
    """Do what the word says."""
    arguments.word(arguments)


def _validate(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.evaluate import settings
    from emocaliber.runs.recipes import files_of, read_recipe

    overrides = [one for one in arguments.recipes if "=" in one]
    for path in (path for name in arguments.recipes if name not in overrides for path in files_of(Path(name))):
        if path.name == "evaluate.yaml":
            print(f"{path}: an evaluation of {', '.join(settings(path)['data'])}: valid")
        else:
            recipe = read_recipe(path, overrides)
            print(f"{path}: stage {recipe.stage}, {recipe.model}, {len(recipe.trainer)} trainer keys: valid")


def _show(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.recipes import read_recipe, settings

    for key, value, origin in settings(read_recipe(arguments.recipe, arguments.overrides)):
        print(f"{'*' if origin == 'set' else ' '} {key}: {value}")


def _copy(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.shipped import copy_recipes, shipped

    if arguments.name is None:
        print("\n".join(shipped()))
        return
    for path in copy_recipes(arguments.name, arguments.target or Path(arguments.name)):
        print(path)
