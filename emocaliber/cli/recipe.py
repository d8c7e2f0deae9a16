"""The command `recipe`: validate, show, copy and create recipes, estimate memory and time, plot rewards.

emocaliber recipe validate recipes/qwen2.5-vl-7b
emocaliber recipe show recipes/qwen2.5-vl-7b/1-label.yaml learning_rate=1e-4
emocaliber recipe cp qwen2.5-vl-7b my-recipes
emocaliber recipe new path/to/model my-recipes
emocaliber recipe estimate recipes/qwen2.5-vl-7b/1-label.yaml --rows 86067 --memory 40
emocaliber recipe rewards brier-1 log-2 --out rewards.html
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import Output

if TYPE_CHECKING:
    from emocaliber.runs.estimate import Estimate
    from emocaliber.runs.launches import Launcher

EVALUATION = "evaluate.yaml"
LAUNCHERS = ("single", "ddp", "zero2", "zero3", "fsdp2")
MEMORY_PARTS = {
    "weights": "weights",
    "reference": "reference model",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "gathered": "gathered shards",
    "activations": "activations",
    "vision": "vision tower",
    "step": "sum of these three",
    "cache": "rollout KV cache",
    "vllm": "vLLM",
}
"""The parts of a GPU's memory that `estimate` prints, where they are not 0."""


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The commands below `recipe`."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    validate = commands.add_parser("validate", help="check recipe files, or all those of a folder, without a GPU")
    validate.add_argument(
        "recipes",
        nargs="+",
        metavar="RECIPE|KEY=VALUE",
        help="recipe files or folders; KEY=VALUE overrides a key of all of them",
    )
    _add_launcher(validate, "also refuse recipes that this launcher cannot run")
    validate.set_defaults(run=_validate)
    show = commands.add_parser("show", help="print every key with its value; * marks those that the recipe sets")
    add_recipe_arguments(show)
    show.set_defaults(run=_show)
    copy = commands.add_parser("cp", help="copy a folder of shipped recipes, to edit; without NAME, list them")
    copy.add_argument("name", nargs="?", metavar="NAME", help="folder under recipes/, such as qwen2.5-vl-7b")
    copy.add_argument("target", nargs="?", type=Path, metavar="FOLDER", help="where to copy it (default: ./NAME)")
    copy.set_defaults(run=_copy)
    new = commands.add_parser("new", help="write a starting recipe for a model without a shipped one")
    new.add_argument("model", metavar="MODEL",
                     help="model folder with a config.json, or a Hugging Face Hub name in the local cache")  # fmt: skip
    new.add_argument("target", nargs="?", type=Path, metavar="FOLDER",
                     help="where to write it (default: a folder named after the model)")  # fmt: skip
    new.set_defaults(run=_new)
    _add_estimate(commands.add_parser("estimate", help="estimate the memory and time that a recipe needs"))
    rewards = commands.add_parser("rewards", help="plot the reward functions of stage 3 and where they can be gamed")
    rewards.add_argument("names", nargs="*", metavar="REWARD",
                         help="rewards such as brier-1 or log-2 (default: a selection of nine)")  # fmt: skip
    rewards.add_argument("--out", type=Path, default=Path("rewards.html"), metavar="FILE",
                         help="the HTML page to write (default: rewards.html)")  # fmt: skip
    rewards.set_defaults(run=_rewards, output=lambda a: Output(a.out, is_file=True))


def add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    """A recipe file, and overrides of its keys."""
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="recipe file, such as recipes/tiny/1-label.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="override a key of the recipe")


def _add_launcher(parser: argparse.ArgumentParser, purpose: str, default: str = "single") -> None:
    parser.add_argument("--launcher", choices=LAUNCHERS,
                        help=f"{purpose}: single is one GPU, the others are files of recipes/accelerate (default:"
                        f" {default})")  # fmt: skip


def _add_estimate(parser: argparse.ArgumentParser) -> None:
    add_recipe_arguments(parser)
    parser.add_argument("--rows", type=int, default=10_000, metavar="N",
                        help="number of training rows (default: 10,000)")  # fmt: skip
    parser.add_argument("--tflops", type=float, default=312.0, metavar="X",
                        help="peak bf16 TFLOPS of one GPU (default: 312, an A100)")  # fmt: skip
    parser.add_argument("--efficiency", type=float, default=0.35, metavar="X",
                        help="fraction of the peak that training reaches, 0 to 1 (default: 0.35)")  # fmt: skip
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="number of GPUs (default: 1)")
    _add_launcher(parser, "how the GPUs share the model", "single for one GPU, ddp for several")
    parser.add_argument("--memory", type=float, metavar="GIB",
                        help="memory of one GPU in GiB; exit with code 2 if the stage does not fit")  # fmt: skip
    parser.set_defaults(run=_estimate)


def _validate(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.launches import refuse_launch
    from emocaliber.runs.recipes import files_of, read_recipe

    overrides = [argument for argument in arguments.recipes if "=" in argument]
    for path in (path for name in arguments.recipes if name not in overrides for path in files_of(Path(name))):
        if path.name == EVALUATION:
            from emocaliber.runs.evaluate import read_evaluation

            print(f"{path}: an evaluation of {', '.join(read_evaluation(path).data)}: valid")
        else:
            recipe = read_recipe(path, overrides)
            refuse_launch(recipe, arguments.launcher or "single")
            print(f"{path}: stage {recipe.stage}, {recipe.model}, {len(recipe.trainer)} trainer keys: valid")


def _show(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.recipes import read_recipe, settings

    for key, value, origin in settings(read_recipe(arguments.recipe, arguments.overrides)):
        print(f"{'*' if origin == 'set' else ' '} {key}: {value}")


def _copy(arguments: argparse.Namespace) -> None:
    from emocaliber.core.files import copy_recipes, shipped_recipes

    if arguments.name is None:
        print("\n".join(shipped_recipes()))
        return
    for path in copy_recipes(arguments.name, arguments.target or Path(arguments.name)):
        print(path)


def _new(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.new_recipe import new_recipe

    target = arguments.target or Path(Path(arguments.model).name.lower())
    for path in new_recipe(arguments.model, target):
        print(path)
    print(f"Next: emocaliber recipe estimate {target}/1-label.yaml")


def _estimate(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.recipes import read_recipe

    recipe = read_recipe(arguments.recipe, arguments.overrides)
    for name in ("rows", "tflops", "efficiency", "gpus"):
        if getattr(arguments, name) <= 0:
            raise UserError(f"--{name} {getattr(arguments, name)}: give a number above 0")
    from emocaliber.runs.estimate import GIB, estimate  # loads torch; a mistake in the recipe is reported without it

    launcher: Launcher = arguments.launcher or ("single" if arguments.gpus == 1 else "ddp")
    if (launcher == "single") != (arguments.gpus == 1):
        raise UserError(f"--launcher {launcher}: single needs --gpus 1, and every other launcher --gpus 2 or more")
    estimated = estimate(recipe, launcher, arguments.gpus, arguments.memory)
    epochs = float(recipe.trainer.get("num_train_epochs", 3))
    if (steps := int(recipe.trainer.get("max_steps", -1))) > 0:
        epochs = steps * estimated.rows_per_step / arguments.rows
    hours = estimated.hours(arguments.rows, epochs, arguments.tflops, arguments.efficiency) / arguments.gpus
    _print_memory(estimated)
    print(f"{'time':<24}{hours:>14.1f} h for {arguments.rows:,} rows, {epochs:g} epochs, without inference")
    need = max(estimated.training_bytes, estimated.asking) / GIB
    if arguments.memory is not None and need > arguments.memory:
        raise UserError(
            f"{arguments.recipe}: needs about {need:.0f} GiB, but the GPU has {arguments.memory:g}; lower"
            " per_device_train_batch_size, ask_batch_size or max_pixels, or give "
            + ("quantization=nf4" if recipe.tuning == "lora" else "tuning=lora, or --launcher fsdp2 with more GPUs")
        )


def _print_memory(estimated: Estimate) -> None:
    from emocaliber.runs.estimate import GIB

    print(f"{'parameters':<24}{estimated.parameters:>16,}")
    print(f"{'trainable':<24}{estimated.trainable:>16,}")
    if estimated.reach is not None:
        print(f"{'layers LoRA reaches':<24}{estimated.reach!s:>16}")
    print(f"{'tokens of an image':<24}{estimated.image_tokens:>16,}")
    for name, label in MEMORY_PARTS.items():
        if size := getattr(estimated, name):
            print(f"{label:<24}{size / GIB:>12.2f} GiB")
    print(f"{'a GPU while training':<24}{estimated.training_bytes / GIB:>12.2f} GiB, with a tenth for the allocator")
    if estimated.asking:
        print(f"{'a GPU at inference':<24}{estimated.asking / GIB:>12.2f} GiB")
    print(f"{'main memory':<24}{estimated.host / GIB:>12.2f} GiB per process while the model loads, data not counted")


def _rewards(arguments: argparse.Namespace) -> None:
    from emocaliber.reporting.rewards_page import write_rewards_page
    from emocaliber.stages.rewards import DRAWN

    try:
        write_rewards_page(arguments.out, arguments.names or DRAWN)
    except ValueError as error:
        raise UserError(str(error)) from None
    print(f"The rewards: {arguments.out}")
