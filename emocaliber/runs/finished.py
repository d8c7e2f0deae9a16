"""What `emocaliber train` left: a finished stage, what it was made from, and whether it is an adapter or a model.

finished_stage(Path("out/3-calibrate")).base
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.models.location import model_folder


@dataclass(frozen=True)
class Finished:
    """A finished stage: its folder, what it was made from, and whether the result is an adapter."""

    folder: Path
    recipe: dict[str, Any]
    inputs: dict[str, Any]

    @property
    def base(self) -> str:
        """The model folder or hub name that the stage trained on."""
        return model_folder(str(self.recipe["model"]))

    @property
    def is_adapter(self) -> bool:
        """False where every weight was trained."""
        return bool(self.recipe["tuning"] == "lora")


def finished_stage(folder: Path) -> Finished:
    """Read what a stage left. Raises UserError where it is not finished."""
    try:
        inputs = json.loads((folder / "done.json").read_text())["inputs"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{folder}: no stage has finished here; give the --out of `emocaliber train`") from error
    return Finished(folder, inputs["recipe"], inputs)
