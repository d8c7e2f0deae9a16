"""Recipes as a person meets them: read and check one, show every value that it leads to.

Torch and TRL are not imported: a recipe for eight GPUs is checked on a laptop, at once. `trainer_keys.json` holds what
TRL's configuration classes declare (keys, kinds, defaults) and the trackers of transformers; a test compares it with
the classes. After an update of TRL or transformers write it anew:

    emocaliber recipe validate recipes/qwen2.5-vl-7b/1-label.yaml learning_rate=1e-4
    emocaliber recipe show recipes/qwen2.5-vl-7b/1-label.yaml
    python -m emocaliber.runs.recipes
"""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NoReturn

import msgspec

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.files import resolve_shipped
from emocaliber.core.prompting import Template, load_template
from emocaliber.data.embedded import check_source
from emocaliber.stages.recipe import PREFERENCES, Recipe, load_recipe, recipe_keys

FILE = Path(__file__).with_name("trainer_keys.json")
TRAINERS = {"sft": "SFTConfig", "grpo": "GRPOConfig", "rloo": "RLOOConfig", "dpo": "DPOConfig", "kto": "KTOConfig"}
_PLAIN = (bool, int, float, str)
_KINDS = {kind.__name__: kind for kind in (*_PLAIN, dict, list)} | {"Any": Any, "Literal": Literal}


class Key(msgspec.Struct, frozen=True):
    """A key of a trainer: its kind as an annotation, and its default unless that is made anew each time."""

    kind: str
    default: Any | msgspec.UnsetType = msgspec.UNSET

    @property
    def hint(self) -> Any:
        """The annotation, for msgspec to check a value by."""
        return eval(self.kind, {"__builtins__": {}}, _KINDS)


class Declared(msgspec.Struct, frozen=True):
    """The file: the trackers by name, the keys that all trainers share, and what each has of its own."""

    trackers: list[str]
    shared: dict[str, Key]
    own: dict[str, dict[str, Key]]


@cache
def declared() -> Declared:
    """What the file says."""
    return msgspec.json.decode(FILE.read_bytes(), type=Declared)


def keys_of(trainer: str) -> dict[str, Key]:
    """The keys of a trainer ("sft", "grpo", "rloo", "dpo" or "kto")."""
    return declared().shared | declared().own[trainer]


def from_trl() -> Declared:
    """The same, from TRL and transformers as they are installed."""
    import transformers
    import trl
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    shared = _keys(transformers.TrainingArguments)
    own = {}
    for trainer, name in TRAINERS.items():
        keys = _keys(getattr(trl, name))
        own[trainer] = {key: value for key, value in keys.items() if shared.get(key) != value}
    return Declared(sorted(INTEGRATION_TO_CALLBACK), shared, own)


def _keys(config: Any) -> dict[str, Key]:
    hints = typing.get_type_hints(config)
    keys = {}
    for field in dataclasses.fields(config):
        default = field.default.value if isinstance(field.default, enum.Enum) else field.default
        kind = _kind(hints[field.name])
        keys[field.name] = Key(kind) if default is dataclasses.MISSING else Key(kind, default)
    return keys


def _kind(hint: Any) -> str:
    """An annotation of plain kinds: a choice becomes its texts, an object that YAML cannot hold is left out."""
    parts, origin = typing.get_args(hint), typing.get_origin(hint)
    if hint is type(None) or hint is Any or hint in _PLAIN or hint in (dict, list):
        return "None" if hint is type(None) else "Any" if hint is Any else str(hint.__name__)
    if _is_choice(hint):
        return f"Literal[{', '.join(repr(choice.value) for choice in hint)}]"
    if origin is types.UnionType or origin is typing.Union:
        choices = [part for part in parts if _is_choice(part)]
        return _kind(choices[0]) if choices else " | ".join(kind for part in parts if (kind := _kind(part)))
    if origin in (dict, list, Literal):
        inner = map(repr, parts) if origin is Literal else map(_kind, parts)
        return f"{'Literal' if origin is Literal else origin.__name__}[{', '.join(inner)}]"
    return ""


def _is_choice(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, enum.Enum)


def _text(keys: dict[str, Key]) -> str:
    lines = (f"{json.dumps(name)}: {msgspec.json.encode(key).decode()}" for name, key in sorted(keys.items()))
    return ",\n  ".join(lines)


def main() -> None:
    """Write the file anew, a key a line."""
    current = from_trl()
    own = ",\n ".join(f"{json.dumps(name)}: {{\n  {_text(keys)}\n }}" for name, keys in current.own.items())
    trackers = json.dumps(current.trackers)
    FILE.write_text(
        f'{{"trackers": {trackers},\n"shared": {{\n  {_text(current.shared)}\n}},\n"own": {{\n {own}\n}}}}\n'
    )
    print(FILE)


if __name__ == "__main__":
    main()


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe with its trainer's keys and its template checked; "key=value" overrides replace what it says.

    A path such as recipes/tiny/1-label.yaml that is not here is the recipe that ships. Raises UserError naming the
    file, the key and how to mend it.
    """
    path = resolve_shipped(path)
    if path.is_dir():
        inside = sorted(path.glob("[123]-*.yaml"))
        example = f", such as {inside[0]}; `emocaliber run` runs all of them" if inside else ""
        raise UserError(f"{path} is a folder; name a recipe in it{example}")
    recipe = load_recipe(path, {key for trainer in TRAINERS for key in keys_of(trainer)}, overrides)
    if foreign := recipe.trainer.keys() - trainer_keys(recipe).keys():
        raise UserError(f"{path}: {sorted(foreign)[0]!r} belongs to another trainer than this recipe's")
    try:
        template = load_template(recipe.template)
    except UserError as error:
        raise UserError(f"{path}: template: {error}") from None
    fields = set(template.fields)
    if template.reasons:
        _check_reasoning(recipe, template)
    if recipe.stage == "label" and "confidence" in fields:
        raise UserError(f"{path}: template: stage label learns no confidence; give label, or reasoning-label")
    if recipe.stage == "calibrate" and not {"label", "confidence"} <= fields:
        raise UserError(f"{path}: template: stage calibrate needs one with a label and a confidence in its answer")
    checked = dataclasses.replace(recipe, trainer=_checked_kinds(recipe))
    trackers_of(checked)
    return checked


def _check_reasoning(recipe: Recipe, template: Template) -> None:
    """Raises UserError where a stage cannot learn to reason as the template says."""

    def refuse(what: str) -> NoReturn:
        raise UserError(f"{recipe.path}: {what}")

    fields = template.fields
    if fields[0] != "reasoning" or not template.is_tagged("reasoning") or template.is_json:
        tags = "<think>{reasoning}</think>"
        refuse(f"template: the answer of {template.name} must begin with its reasoning in tags, such as {tags}")
    if "distribution" in fields:
        refuse("template: no stage learns reasoning before a distribution; state {label} and {confidence}")
    asks = recipe.stage == "calibrate" or (recipe.stage == "verbalize" and recipe.target != "votes")
    if asks and recipe.max_answer_tokens is None:
        refuse("max_answer_tokens: the model that is asked reasons before it answers; say how long, such as 512")
    if recipe.stage == "verbalize" and recipe.target in ("degraded", "signals"):
        refuse(f"target: {recipe.target} asks for answers without reasoning; give agreement, own-probability or votes")
    if recipe.teachers:
        refuse("teachers: each would reason in its own way, and one reasoning is learned; take the key out")
    if recipe.stage == "calibrate" and recipe.method in PREFERENCES:
        refuse(f"method: {recipe.method} compares confidences of one label, and reasonings differ; give proper or grpo")
    draws = recipe.stage == "calibrate" and recipe.method in ("grpo", "rloo")
    if draws and "max_completion_length" not in recipe.trainer:
        refuse("max_completion_length: answers that are drawn reason first; say how long they may be, such as 512")


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
    place = resolve_shipped(path)
    files = sorted(place.glob("*.yaml")) if place.is_dir() else [place]
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
