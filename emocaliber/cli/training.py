"""The commands `run` (three stages, predictions, report), `train` (one stage) and `export` (share the result).

emocaliber run recipes/tiny --out out/demo
emocaliber run recipes/qwen2.5-vl-7b/evaluate.yaml --model out/model --out out/evaluation
emocaliber train recipes/tiny/1-label.yaml max_steps=30 --out out/label
emocaliber export out/3-calibrate --scorecard out/score --merge --out out/model
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from emocaliber.cli.options import add_push_arguments
from emocaliber.cli.recipe import EVALUATION, add_recipe_arguments
from emocaliber.core.environment import take_one_gpu
from emocaliber.core.errors import UserError
from emocaliber.core.files import resolve_shipped
from emocaliber.core.hub import push, signed_in
from emocaliber.core.outputs import REPORT, SCORECARD, Output
from emocaliber.models.location import TINY, on_hub

if TYPE_CHECKING:
    from emocaliber.runs.finished import Finished
    from emocaliber.stages.recipe import Recipe


STAGE_FILES = ("inputs.json", "done.json", "log.jsonl", "held_out.jsonl", "held_out_costs.jsonl", "asked-*.jsonl",
               "profile.png")  # fmt: skip
EVALUATION_FILES = (*SCORECARD, "rows/*.jsonl", "answers/*/*/*.json*")


def add_run(parser: argparse.ArgumentParser) -> None:
    """The arguments of `run`."""
    parser.add_argument("recipes", type=Path, metavar="RECIPES",
                        help="folder with 1-label.yaml, 2-verbalize.yaml and 3-calibrate.yaml, to train and evaluate;"
                        " or an evaluate.yaml, to predict and evaluate with a trained model")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                        help="run directory for all results; steps that have finished there are not"
                        " repeated")  # fmt: skip
    parser.add_argument(
        "--seed", type=int, metavar="N", help="random seed, instead of the recipes' or the evaluation's"
    )
    parser.add_argument("--model", metavar="MODEL",
                        help="with evaluate.yaml: model folder or Hugging Face Hub name")  # fmt: skip
    parser.add_argument("--adapter", metavar="FOLDER", help="with evaluate.yaml: LoRA adapter folder")
    parser.set_defaults(run=_run, output=_run_output)


def add_train(parser: argparse.ArgumentParser) -> None:
    """The arguments of `train`."""
    add_recipe_arguments(parser)
    parser.add_argument(
        "--adapter", type=Path, metavar="FOLDER", help="adapter of the previous stage, to continue from"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder for the adapter, the log and the checkpoints"
    )
    parser.add_argument("--profile", action="store_true", help="print where the time goes, and plot it in profile.png")
    parser.set_defaults(run=_train, output=lambda a: Output(a.out, STAGE_FILES, in_steps=True))


def add_export(parser: argparse.ArgumentParser) -> None:
    """The arguments of `export`."""
    parser.add_argument("stage", type=Path, metavar="FOLDER", help="output folder of a finished `emocaliber train`")
    parser.add_argument(
        "--scorecard",
        type=Path,
        metavar="FOLDER",
        help="output folder of `emocaliber score` or of an evaluation: its text goes into the model card, and the"
        " results of its first method into the card's metadata",
    )
    parser.add_argument(
        "--dataset",
        metavar="OWNER/NAME",
        help="Hugging Face Hub name of the dataset that the scorecard is about, to write the results into"
        " .eval_results/ as well",
    )
    parser.add_argument(
        "--merge", action="store_true", help="export the base model with the adapter merged into its weights"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="folder to write, which must not exist yet"
    )
    add_push_arguments(parser)
    parser.add_argument(
        "--space",
        metavar="OWNER/NAME",
        help="with --push: also create this Space on the Hub, which serves the chat page with the uploaded adapter",
    )
    parser.set_defaults(run=_export, output=lambda a: Output(a.out, must_be_new=True))


def _run_output(arguments: argparse.Namespace) -> Output:
    names = EVALUATION_FILES if arguments.recipes.name == EVALUATION else REPORT
    return Output(arguments.out, names, in_steps=arguments.recipes.name != EVALUATION)


def _run(arguments: argparse.Namespace) -> None:
    recipes = arguments.recipes
    if recipes.name == EVALUATION:
        if arguments.model is None:
            raise UserError(f"{recipes}: an evaluation needs --model, a model folder or hub name")
        from emocaliber.runs.evaluate import evaluate

        model, adapter, seed = arguments.model, arguments.adapter, arguments.seed
        print(f"The report: {evaluate(recipes, model, adapter, arguments.out, seed)}")
        return
    if given := next((name for name in ("model", "adapter") if getattr(arguments, name) is not None), None):
        raise UserError(
            f"--{given} goes with an {EVALUATION}; the stages of {recipes} train the model that they name"
            " (`emocaliber recipe cp` makes a copy to change)"
        )
    if (file := resolve_shipped(recipes)).is_file():
        raise UserError(f"{recipes} is one stage; run it with `emocaliber train {recipes}`, or give its folder")
    if not file.is_dir() or not any(file.glob("[123]-*.yaml")):
        raise UserError(f"{recipes}: {_no_recipes(file)}; `emocaliber recipe cp` lists the shipped ones")
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


def _export(arguments: argparse.Namespace) -> None:
    from emocaliber.runs.export import export
    from emocaliber.runs.finished import finished_stage

    stage, out = finished_stage(arguments.stage), arguments.out
    if arguments.push or arguments.space:
        _refuse_push(stage, arguments)
    export(stage, out, merge=arguments.merge, scorecard=arguments.scorecard, dataset=arguments.dataset)
    print(f"Written: {out}")
    if arguments.push:
        print(f"Uploaded: {push(out, arguments.push, 'model', public=arguments.public)}")
    if arguments.space:
        from emocaliber.cli.space import write_space

        with TemporaryDirectory() as folder:
            write_space(Path(folder), arguments.push)
            print(f"Uploaded: {push(Path(folder), arguments.space, 'space', public=arguments.public)}")


def _refuse_push(stage: Finished, arguments: argparse.Namespace) -> None:
    """Raises UserError, before any work, if nobody is signed in or nobody else could use what would be uploaded."""
    if arguments.space and (not arguments.push or arguments.merge or not stage.is_adapter):
        raise UserError("--space serves an adapter from the Hub: give --push too, and leave out --merge")
    for repository in filter(None, (arguments.push, arguments.space)):
        signed_in(repository)
    base = str(stage.recipe["model"])
    if stage.is_adapter and not arguments.merge and base != TINY and not on_hub(base):
        raise UserError(
            f"--push: the adapter's base model, {base}, is only on this machine; give --merge to upload both as one"
        )
