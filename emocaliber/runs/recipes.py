"""Recipes as a person meets them: read and check one, show every value that it leads to.

Torch and TRL are not imported: a recipe for eight GPUs is checked on a laptop, at once.

    emocaliber recipe validate recipes/qwen2.5-vl-7b/1-label.yaml learning_rate=1e-4
    emocaliber recipe show recipes/qwen2.5-vl-7b/1-label.yaml
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.prompting import load_template
from emocaliber.core.yaml_files import located
from emocaliber.data.embedded import check_source
from emocaliber.runs.trainer_keys import TRAINERS, Key, declared, keys_of
from emocaliber.stages.recipe import Recipe, load_recipe, recipe_keys


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe with its trainer's keys and its template checked; "key=value" overrides replace what it says.

    A path such as recipes/tiny/1-label.yaml that is not here is the recipe that ships. Raises UserError naming the
    file, the key and how to mend it.
    """
    path = located(path)
    if path.is_dir():
        inside = sorted(path.glob("[123]-*.yaml"))
        example = f", such as {inside[0]}; `emocaliber run` runs all of them" if inside else ""
        raise UserError(f"{path} is a folder; name a recipe in it{example}")
    recipe = load_recipe(path, {key for trainer in TRAINERS for key in keys_of(trainer)}, overrides)
    if foreign := recipe.trainer.keys() - trainer_keys(recipe).keys():
        raise UserError(f"{path}: {sorted(foreign)[0]!r} belongs to another trainer than this recipe's")
    try:
        fields = set(load_template(recipe.template).fields)
    except UserError as error:
        raise UserError(f"{path}: template: {error}") from None
    if recipe.stage == "calibrate" and not {"label", "confidence"} <= fields:
        raise UserError(f"{path}: template: stage calibrate needs one with a label and a confidence in its answer")
    checked = dataclasses.replace(recipe, trainer=_checked_kinds(recipe))
    trackers_of(checked)
    return checked


def check_data(recipe: Recipe) -> None:
    """Raises UserError where the recipe's data are neither embedded nor Parquet files, before anything is loaded."""
    for name in recipe.data:
        check_source(name, f"{recipe.path}: data")


def trainer_keys(recipe: Recipe) -> dict[str, Key]:
    """The keys that the recipe's trainer takes, as TRL declares them."""
    return keys_of(recipe.method if recipe.stage == "calibrate" and recipe.method in TRAINERS else "sft")


def trackers_of(recipe: Recipe) -> list[str]:
    """The trackers that `report_to` names. Raises UserError where one is unknown to transformers."""
    value = recipe.trainer.get("report_to") or "none"
    names = [value] if isinstance(value, str) else list(value)
    choices = ["none", "all", *declared().trackers]
    for name in names:
        if name not in choices:
            hint = did_you_mean(name, choices)
            raise UserError(f"{recipe.path}: report_to: {name!r} is not one of {', '.join(choices)}{hint}")
    return [name for name in names if name not in {"none", "all"}]


def settings(recipe: Recipe) -> Iterator[tuple[str, Any, str]]:
    """Every key that the recipe's trainer knows: name, value, and "set" where that is not ours or TRL's default."""
    for field in dataclasses.fields(Recipe):
        if field.name not in {"path", "trainer"}:
            value = getattr(recipe, field.name)
            yield field.name, value, "default" if value == field.default else "set"
    for name, key in trainer_keys(recipe).items():
        if name in recipe.trainer:
            yield name, recipe.trainer[name], "set"
        elif name not in recipe_keys() and key.default is not msgspec.UNSET:
            yield name, key.default, "default"


def files_of(path: Path) -> list[Path]:
    """The recipes of a folder, its evaluate.yaml among them, or the one file. Raises UserError where there is none."""
    found = located(path)
    files = sorted(found.glob("*.yaml")) if found.is_dir() else [found]
    if not files:
        raise UserError(f"{path}: no *.yaml lies in this folder")
    return files


def _checked_kinds(recipe: Recipe) -> dict[str, Any]:
    """The trainer's values, each of the kind that TRL declares; making TRL's own object would ask for the GPU."""
    keys = trainer_keys(recipe)
    checked = {}
    for name, value in recipe.trainer.items():
        try:
            checked[name] = msgspec.convert(value, keys[name].hint)
        except msgspec.ValidationError as error:
            raise UserError(f"{recipe.path}: {name}: {value!r} is of the wrong kind ({error})") from error
    return checked
