"""The recipes that come with the project, and a copy of them to change. Not a check (see recipes): no torch is loaded.

emocaliber recipe cp qwen2.5-vl-7b my-recipes
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.yaml_files import shipped_folder


def shipped() -> dict[str, Path]:
    """The shipped folders of recipes by name."""
    return {folder.name: folder for folder in sorted(shipped_folder("recipes").iterdir()) if folder.is_dir()}


def copy_recipes(name: str, target: Path) -> list[Path]:
    """Copy a shipped folder of recipes to `target`, which must not exist yet; returns the files.

    Raises UserError where there is no such folder, or something would be overwritten.
    """
    found = shipped()
    if name not in found:
        raise UserError(
            f"there are no recipes named {name!r}; choose one of {', '.join(found)}{did_you_mean(name, found)}"
        )
    if os.path.lexists(target):
        raise UserError(f"{target} is there already; name a folder that is not")
    shutil.copytree(found[name], target)
    return sorted(target.iterdir())
