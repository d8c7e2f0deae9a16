"""Recipes as a person meets them: read and check one, show every value that it leads to.

Not a trainer (see train), and nothing is loaded but configuration classes: a recipe for eight GPUs is checked on a
laptop.

    emocaliber recipe validate recipes/qwen2.5-vl-7b/1-label.yaml learning_rate=1e-4
    emocaliber recipe show recipes/qwen2.5-vl-7b/1-label.yaml
"""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.kto_config import KTOConfig
from trl.trainer.rloo_config import RLOOConfig
from trl.trainer.sft_config import SFTConfig

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template
from emocaliber.core.yaml_files import located
from emocaliber.models.tiny import embedded_base
from emocaliber.runs import trackers
from emocaliber.stages.recipe import Method, Recipe, load_recipe, recipe_keys

Config = type[SFTConfig] | type[GRPOConfig] | type[RLOOConfig] | type[DPOConfig] | type[KTOConfig]
CONFIGS: dict[Method, Config] = {"grpo": GRPOConfig, "rloo": RLOOConfig, "dpo": DPOConfig, "kto": KTOConfig}
"""The methods of stage 3 with a configuration class of their own."""


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe with its trainer's keys and its template checked; "key=value" overrides replace what it says.

    A path such as recipes/tiny/1-label.yaml that is not here is the recipe that ships. Raises UserError naming the
    file, the key and how to mend it.
    """
    path = located(path)
    every = {field.name for config in (SFTConfig, *CONFIGS.values()) for field in dataclasses.fields(config)}
    recipe = load_recipe(path, every, overrides)
    if foreign := set(recipe.trainer) - _keys(recipe):
        raise UserError(f"{path}: {sorted(foreign)[0]!r} belongs to another trainer than this recipe's")
    try:
        fields = set(load_template(recipe.template).fields)
    except ValueError as error:
        raise UserError(f"{path}: template: {error}") from error
    if recipe.stage == "calibrate" and not {"label", "confidence"} <= fields:
        raise UserError(f"{path}: template: stage calibrate needs one with a label and a confidence in its answer")
    checked = dataclasses.replace(recipe, trainer=_checked_kinds(recipe))
    trackers.named(checked)
    return checked


def config_class(recipe: Recipe) -> Config:
    """TRL's configuration class that takes the recipe's trainer keys."""
    return CONFIGS.get(recipe.method, SFTConfig) if recipe.stage == "calibrate" else SFTConfig


def settings(recipe: Recipe) -> Iterator[tuple[str, Any, str]]:
    """Every key that the recipe's trainer knows: name, value, and "set" where that is not ours or TRL's default."""
    for field in dataclasses.fields(Recipe):
        if field.name not in {"path", "trainer"}:
            value = getattr(recipe, field.name)
            yield field.name, value, "default" if value == field.default else "set"
    for field in dataclasses.fields(config_class(recipe)):
        if field.name in recipe.trainer:
            yield field.name, recipe.trainer[field.name], "set"
        elif field.name not in recipe_keys() and field.default is not dataclasses.MISSING:
            yield field.name, field.default, "default"


def files_of(path: Path) -> list[Path]:
    """The recipes of a folder, its evaluate.yaml among them, or the one file. Raises UserError where there is none."""
    found = located(path)
    files = sorted(found.glob("*.yaml")) if found.is_dir() else [found]
    if not files:
        raise UserError(f"{path}: no *.yaml lies in this folder")
    return files


def _keys(recipe: Recipe) -> set[str]:
    return {field.name for field in dataclasses.fields(config_class(recipe))}


def _checked_kinds(recipe: Recipe) -> dict[str, Any]:
    """The trainer's values, each of the kind that TRL declares; making TRL's own object would ask for the GPU."""
    hints = typing.get_type_hints(config_class(recipe))
    checked = {}
    for key, value in recipe.trainer.items():
        try:
            checked[key] = _as_kind(value, hints[key])
        except msgspec.ValidationError as error:
            raise UserError(f"{recipe.path}: {key}: {value!r} is of the wrong kind ({error})") from error
    return checked


def _as_kind(value: Any, hint: Any) -> Any:
    """`value` as TRL's annotation has it; a choice stays the text it was written as. Raises msgspec.ValidationError."""
    choices = [kind for kind in typing.get_args(hint) if isinstance(kind, type) and issubclass(kind, enum.Enum)]
    if choices:
        msgspec.convert(value, choices[0])
        return value
    return msgspec.convert(value, hint)


def model_folder(recipe: Recipe) -> str:
    """The model to load: the embedded one for `tiny`."""
    return str(embedded_base()) if recipe.model == "tiny" else recipe.model
