"""What TRL's configuration classes declare: keys, kinds, defaults, and the trackers of transformers; without torch.

Importing TRL takes seconds, so that a recipe would be checked slowly. `trainer_keys.json` holds what it declares, and
a test compares it with TRL's own classes. After an update of TRL or transformers write it anew:

    python -m emocaliber.runs.trainer_keys
"""

from __future__ import annotations

import dataclasses
import enum
import json
import types
import typing
from functools import cache
from pathlib import Path
from typing import Any, Literal

import msgspec

FILE = Path(__file__).with_name("trainer_keys.json")
TRAINERS = {"sft": "SFTConfig", "grpo": "GRPOConfig", "rloo": "RLOOConfig", "dpo": "DPOConfig", "kto": "KTOConfig"}
SHARED = "TrainingArguments"
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
    found = from_trl()
    own = ",\n ".join(f"{json.dumps(name)}: {{\n  {_text(keys)}\n }}" for name, keys in found.own.items())
    trackers = json.dumps(found.trackers)
    FILE.write_text(f'{{"trackers": {trackers},\n"shared": {{\n  {_text(found.shared)}\n}},\n"own": {{\n {own}\n}}}}\n')
    print(FILE)


if __name__ == "__main__":
    main()
