"""Reading a YAML file, and finding those that ship, in a clone as in an installation; a copy of shipped recipes.

Not a schema: what the keys mean is checked by whoever asked for the file.

    read_mapping(Path("recipes/tiny/1-label.yaml"))
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import yaml

import emocaliber
from emocaliber.core.errors import UserError, did_you_mean

SHIPPED = {"recipes": "recipes", "eval/suites": "suites", "prompts": "prompts"}
"""Folders of a clone, and where the wheel holds them within the package (pyproject.toml, force-include)."""


def read_yaml(path: Path) -> Any:
    """What a YAML file says; a path of the clone that is not here is read from what ships (see `located`).

    Raises UserError naming the file where it cannot be read or is not YAML.
    """
    try:
        return yaml.safe_load(located(path).read_text(encoding="utf-8"))
    except OSError as problem:
        raise UserError(f"{path} cannot be read: {problem.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise UserError(f"{path} is not YAML: {' '.join(str(problem).split())}") from None


def read_mapping(path: Path) -> dict[Any, Any]:
    """A YAML file that is one mapping. Raises UserError naming the file where it is not."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} must be `key: value` lines, is {type(content).__name__}")
    return content


def located(path: Path) -> Path:
    """`path` where it is there; a path of the clone ("recipes/tiny/1-label.yaml") else as it ships with the package."""
    if not path.exists():
        for name in SHIPPED:
            if path.is_relative_to(name) and (found := shipped_folder(name) / path.relative_to(name)).exists():
                return found
    return path


def shipped_folder(name: str) -> Path:
    """Where a folder of SHIPPED lies: within an installed package, or beside it in a clone."""
    package = Path(emocaliber.__file__).parent
    inside = package / SHIPPED[name]
    return inside if inside.is_dir() else package.parent / name


def shipped() -> dict[str, Path]:
    """The shipped folders of recipes by name."""
    return {folder.name: folder for folder in sorted(shipped_folder("recipes").iterdir()) if folder.is_dir()}


def copy_recipes(name: str, target: Path) -> list[Path]:
    """Copy a shipped folder of recipes to `target`, which must not exist yet; returns the files.

    Raises UserError where there is no such folder, or something would be overwritten.
    """
    folders = shipped()
    if name not in folders:
        raise UserError(
            f"there are no recipes named {name!r}; choose one of {', '.join(folders)}{did_you_mean(name, folders)}"
        )
    if os.path.lexists(target):
        raise UserError(f"{target} is there already; name a folder that is not")
    shutil.copytree(folders[name], target)
    return sorted(target.iterdir())
