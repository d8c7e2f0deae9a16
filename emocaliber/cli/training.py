"""Commands that train: `run` (three stages, predictions, report), `train` (one stage) and `recipe` (what they read).

emocaliber run recipes/tiny --out out/demo
emocaliber run recipes/qwen2.5-vl-7b/evaluate.yaml --model out/model --out out/evaluation
emocaliber train recipes/tiny/1-label.yaml max_steps=30 --out out/label
emocaliber recipe validate recipes/qwen2.5-vl-7b
emocaliber recipe show recipes/qwen2.5-vl-7b/1-label.yaml learning_rate=1e-4
emocaliber recipe cp qwen2.5-vl-7b my-recipes
emocaliber recipe estimate recipes/qwen2.5-vl-7b/1-label.yaml --rows 86067 --memory 40
emocaliber recipe rewards brier-1 log-2 --out rewards.html
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from emocaliber.core.environment import take_one_gpu
from emocaliber.core.errors import UserError
from emocaliber.core.files import located
from emocaliber.core.outputs import REPORT, SCORECARD, Output

if TYPE_CHECKING:
    from emocaliber.runs.launches import Launcher
    from emocaliber.stages.recipe import Recipe

LAUNCHERS = ("single", "ddp", "zero2", "zero3", "fsdp2")
PARTS = {
    "weights": "weights",
    "reference": "reference model",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "gathered": "gathered shards",
    "activations": "activations",
    "vision": "vision tower",
    "step": "these three at once",
    "cache": "cache of rollouts",
    "vllm": "vLLM",
}
"""What `estimate` prints of a GPU's memory, where there is any of it."""
STAGE_FILES = ("inputs.json", "done.json", "log.jsonl", "held_out.jsonl", "held_out_start.json", "asked-*.jsonl",
               "profile.png")  # fmt: skip
EVALUATION_FILES = (*SCORECARD, "rows/*.jsonl", "answers/*/*/*.json*")
EVALUATION = "evaluate.yaml"


def add_run(parser: argparse.ArgumentParser) -> None:
    """The arguments of `run`."""
    parser.add_argument("recipes", type=Path, metavar="RECIPES",
                        help="folder with 1-label.yaml, 2-verbalize.yaml and 3-calibrate.yaml; or an evaluate.yaml, to"
                        " predict and score with a trained model")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="results; finished steps are reused")
    parser.add_argument("--seed", type=int, metavar="N", help="seed that replaces the recipes' own")
    parser.add_argument("--model", metavar="MODEL", help="for evaluate.yaml: model folder or hub name")
    parser.add_argument("--adapter", metavar="FOLDER", help="for evaluate.yaml: LoRA adapter folder")
    parser.set_defaults(run=_run, output=_run_output)


def add_train(parser: argparse.ArgumentParser) -> None:
    """The arguments of `train`."""
    _add_recipe(parser)
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help="adapter folder from the previous stage")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="adapter, log and checkpoints")
    parser.add_argument("--profile", action="store_true", help="report where the time goes, and plot it in profile.png")
    parser.set_defaults(run=_train, output=lambda a: Output(a.out, STAGE_FILES, in_steps=True))


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """The commands below `recipe`."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    validate = commands.add_parser("validate", help="validate recipes, or a folder of them")
    validate.add_argument("recipes", nargs="+", metavar="RECIPE|KEY=VALUE")
    _add_launcher(validate, "refuse what this launcher cannot run")
    validate.set_defaults(run=_validate)
    show = commands.add_parser("show", help="print every key with its value; * marks those that are set")
    _add_recipe(show)
    show.set_defaults(run=_show)
    copy = commands.add_parser("cp", help="copy a folder of shipped recipes, to be edited; without NAME, list them")
    copy.add_argument("name", nargs="?", metavar="NAME")
    copy.add_argument("target", nargs="?", type=Path, metavar="FOLDER")
    copy.set_defaults(run=_copy)
    _add_estimate(commands.add_parser("estimate", help="estimate memory and time of a recipe"))
    rewards = commands.add_parser("rewards", help="plot the reward functions of stage 3 and where they can be gamed")
    rewards.add_argument("names", nargs="*", metavar="REWARD", help="such as brier-1 or log-2 (default: nine of them)")
    rewards.add_argument("--out", type=Path, default=Path("rewards.html"), metavar="FILE",
                         help="HTML page (default: rewards.html)")  # fmt: skip
    rewards.set_defaults(run=_rewards, output=lambda a: Output(a.out, is_file=True))


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE", help="such as recipes/tiny/1-label.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="replaces a key of the recipe")


def _add_launcher(parser: argparse.ArgumentParser, purpose: str) -> None:
    parser.add_argument("--launcher", choices=LAUNCHERS,
                        help=f"{purpose}: a file of recipes/accelerate, or single (default: single)")  # fmt: skip


def _add_estimate(parser: argparse.ArgumentParser) -> None:
    _add_recipe(parser)
    parser.add_argument("--rows", type=int, default=10_000, metavar="N", help="training images (default: 10,000)")
    parser.add_argument("--tflops", type=float, default=312.0, metavar="X",
                        help="peak bf16 TFLOPS of the GPU (default: 312, an A100)")  # fmt: skip
    parser.add_argument("--efficiency", type=float, default=0.35, metavar="X",
                        help="fraction of the peak that is reached (default: 0.35)")  # fmt: skip
    parser.add_argument("--gpus", type=int, default=1, metavar="N", help="number of GPUs (default: 1)")
    _add_launcher(parser, "how they share a model, ddp where there are several")
    parser.add_argument("--memory", type=float, metavar="GIB",
                        help="memory of one GPU: exit code 2 where the stage does not fit")  # fmt: skip
    parser.set_defaults(run=_estimate)


def _run_output(arguments: argparse.Namespace) -> Output:
    names = EVALUATION_FILES if arguments.recipes.name == EVALUATION else REPORT
    return Output(arguments.out, names, in_steps=arguments.recipes.name != EVALUATION)


def _run(arguments: argparse.Namespace) -> None:
    recipes = arguments.recipes
    if recipes.name == EVALUATION:
        if arguments.model is None:
            raise UserError(f"{recipes}: an evaluation needs --model, a model folder or hub name")
        from emocaliber.runs.evaluate import evaluate

        print(f"The report: {evaluate(recipes, arguments.model, arguments.adapter, arguments.out)}")
        return
    if (file := located(recipes)).is_file():
        raise UserError(f"{recipes} is one stage; run it with `emocaliber train {recipes}`, or name its folder")
    if not file.is_dir() or not any(file.glob("[123]-*.yaml")):
        raise UserError(f"{recipes}: {_no_recipes(file)}; `emocaliber recipe cp` lists those that ship")
    _use_one_gpu()
    from emocaliber.runs.run import run

    print(f"The report: {run(recipes, arguments.out, arguments.seed)}")


def _no_recipes(folder: Path) -> str:
    return "this folder holds no recipes" if folder.is_dir() else "there is no such folder of recipes"


def _train(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.recipes import check_data, read_recipe

    recipe = read_recipe(arguments.recipe, arguments.overrides)
    check_data(recipe)
    _use_one_gpu()
    from emocaliber.runs.train import train

    if arguments.profile:
        _profile(recipe, arguments)
    else:
        train(recipe, arguments.adapter, arguments.out)
    print(f"The result: {arguments.out}")


def _use_one_gpu() -> None:
    if sentence := take_one_gpu(os.environ):
        print(sentence, file=sys.stderr)


def _profile(recipe: Recipe, arguments: argparse.Namespace) -> None:
    from emocaliber.runs.train import train
    from emocaliber.stages.profiling import draw_profile, profile_table, profiled

    with profiled() as profile:
        train(recipe, arguments.adapter, arguments.out)
    print(profile_table(profile))
    print(f"Plotted in {draw_profile(profile, arguments.out)}")


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
    from emocaliber.core.files import copy_recipes, shipped

    if arguments.name is None:
        print("\n".join(shipped()))
        return
    for path in copy_recipes(arguments.name, arguments.target or Path(arguments.name)):
        print(path)


def _estimate(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.recipes import read_recipe

    recipe = read_recipe(arguments.recipe, arguments.overrides)
    from emocaliber.runs.estimate import GIB, estimate

    launcher: Launcher = arguments.launcher or ("single" if arguments.gpus == 1 else "ddp")
    if (launcher == "single") != (arguments.gpus == 1):
        raise UserError(f"--launcher {launcher}: give --gpus N, more than 1, with a launcher, and none with single")
    estimated = estimate(recipe, launcher, arguments.gpus, arguments.memory)
    epochs = float(recipe.trainer.get("num_train_epochs", 3))
    if (steps := int(recipe.trainer.get("max_steps", -1))) > 0:
        epochs = steps * estimated.rows_per_step / arguments.rows
    hours = estimated.hours(arguments.rows, epochs, arguments.tflops, arguments.efficiency) / arguments.gpus
    print(f"{'parameters':<24}{estimated.parameters:>16,}")
    print(f"{'trainable':<24}{estimated.trainable:>16,}")
    print(f"{'tokens of an image':<24}{estimated.image_tokens:>16,}")
    for name, label in PARTS.items():
        if size := getattr(estimated, name):
            print(f"{label:<24}{size / GIB:>12.2f} GiB")
    print(f"{'a GPU while training':<24}{estimated.training_bytes / GIB:>12.2f} GiB, a tenth of it the allocator's")
    if estimated.asking:
        print(f"{'a GPU at inference':<24}{estimated.asking / GIB:>12.2f} GiB")
    print(f"{'main memory':<24}{estimated.host / GIB:>12.2f} GiB for each process while it loads, beside its data")
    print(f"{'time':<24}{hours:>14.1f} h for {arguments.rows:,} rows, {epochs:g} epochs, without inference")
    need = max(estimated.training_bytes, estimated.asking) / GIB
    if arguments.memory is not None and need > arguments.memory:
        raise UserError(
            f"{arguments.recipe}: needs about {need:.0f} GiB and the GPU has {arguments.memory:g}; lower"
            " per_device_train_batch_size, ask_batch_size or max_pixels, or give "
            + ("quantization=nf4" if recipe.tuning == "lora" else "tuning=lora, or --launcher fsdp2 with more GPUs")
        )


def _rewards(arguments: argparse.Namespace) -> None:
    from emocaliber.reporting.rewards_page import write_rewards_page
    from emocaliber.stages.rewards import DRAWN

    try:
        write_rewards_page(arguments.out, arguments.names or DRAWN)
    except ValueError as error:
        raise UserError(str(error)) from None
    print(f"The rewards: {arguments.out}")
