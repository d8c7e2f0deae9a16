"""A trained model as others can take it: merged or as an adapter, its processor, and a card that holds its scorecard.

Not an upload: the folder is written, `hf upload` sends it. Weights are safetensors, nothing else.

    emocaliber export out/3-calibrate --scorecard out/score --merge --out out/model
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from peft import PeftModel
from transformers import AutoModelForImageTextToText

from emocaliber import __version__
from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template
from emocaliber.models.location import model_folder
from emocaliber.stages.clusters import TRAINED
from emocaliber.stages.loading import load_processor
from emocaliber.stages.training import ADAPTER, MODEL

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


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


def export(stage: Finished, out: Path, *, merge: bool, scorecard: Path | None) -> Path:
    """Write the folder beside its place, then move it there. Raises UserError where `out` is there already."""
    if os.path.lexists(out):
        raise UserError(f"--out: {out} is there already; name a folder that is not")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        partial = Path(folder) / out.name
        partial.mkdir()
        _write(stage, partial, merge=merge, scorecard=scorecard)
        try:
            partial.rename(out)
        except OSError:
            raise UserError(f"--out: {out} was made by another process meanwhile; name another folder") from None
    return out


def _write(stage: Finished, partial: Path, *, merge: bool, scorecard: Path | None) -> None:
    if merge and stage.is_adapter:
        _merged(stage).save_pretrained(partial)
        if (record := stage.folder / ADAPTER / TRAINED).is_file():
            shutil.copy(record, partial)
    else:
        source = stage.folder / (ADAPTER if stage.is_adapter else MODEL)
        shutil.copytree(source, partial, dirs_exist_ok=True)
    processor: Any = load_processor(stage.base, stage.recipe["max_pixels"])
    processor.save_pretrained(partial)
    for file in partial.rglob("*"):
        if file.suffix in PICKLES:
            raise UserError(f"{file.name}: a pickled file must not be shared; the stage's folder holds one")
    (partial / "README.md").write_text(card(stage, merged=merge, scorecard=_scorecard(scorecard)), encoding="utf-8")


def _merged(stage: Finished) -> Any:
    """Base and adapter in one, added up in float32 and rounded once, to the type of the base's own weights."""
    base: Any = AutoModelForImageTextToText.from_pretrained(stage.base, dtype="auto", use_safetensors=True)
    own_type = base.dtype
    adapted: Any = PeftModel.from_pretrained(base.float(), str(stage.folder / ADAPTER))
    return adapted.merge_and_unload().to(own_type)


def _scorecard(folder: Path | None) -> str:
    if folder is None:
        return "Not judged yet: `emocaliber score` writes the scorecard, `emocaliber export --scorecard` shows it.\n"
    file = folder / "scorecard.md" if folder.is_dir() else folder
    if not file.is_file():
        raise UserError(f"{file}: there is no scorecard; write it with `emocaliber score ... --out {folder}`")
    return file.read_text(encoding="utf-8")


def card(stage: Finished, *, merged: bool, scorecard: str) -> str:
    """The model card: what it is, how to ask it, what it was trained on, how it was judged."""
    recipe, template = stage.recipe, load_template(stage.recipe["template"])
    complete = merged or not stage.is_adapter
    head = {
        "base_model": recipe["model"],
        "library_name": "transformers" if complete else "peft",
        "pipeline_tag": "image-text-to-text",
        "tags": ["emotion-recognition", "calibration", "verbalized-confidence", "emocaliber"],
    }
    settings = {key: value for key, value in recipe.items() if key != "trainer"} | recipe["trainer"]
    lines = [
        "---",
        *(f"{key}: {json.dumps(value)}" for key, value in head.items()),
        "---",
        f"# {recipe['model']}, stage {recipe['stage']} of emocaliber",
        "",
        f"{'A complete model' if complete else 'A LoRA adapter'} that names the emotion in an image"
        + (" and states how sure it is." if "confidence" in template.fields else "."),
        "The confidence is a claim about data like those below; on other pictures, check it before relying on it.",
        "",
        "## Asking it",
        f"Prompt (template `{template.name}`, {template.hash}): {template.prompt}",
        f"Answer: `{template.answer}`",
        "",
        "## How it was judged",
        scorecard.strip(),
        "",
        "## How it was trained",
        f"emocaliber {__version__}; data: "
        + ", ".join(f"{name} ({digest})" for name, digest in stage.inputs["data"].items())
        + f"; splits: {', '.join(recipe['splits'])}.",
        "```yaml",
        *(f"{key}: {json.dumps(value)}" for key, value in settings.items()),
        "```",
    ]
    return "\n".join(lines) + "\n"
