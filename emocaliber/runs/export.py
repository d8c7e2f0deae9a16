"""A trained model as others can take it: merged or as an adapter, its processor, and a card that holds its scorecard.

Not an upload (see core.hub). Weights are safetensors, nothing else, and none says where the base lay on this machine.

    emocaliber export out/3-calibrate --scorecard out/score --merge --out out/model
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub.constants import EVAL_RESULTS_FOLDER
from peft import PeftModel
from transformers import AutoModelForImageTextToText

from emocaliber.core.errors import UserError
from emocaliber.models.location import ADAPTER_CONFIG, QUESTION_FILE
from emocaliber.runs.finished import Finished
from emocaliber.runs.model_card import checked_dataset, eval_results, model_card, read_results, without_folder
from emocaliber.stages.clusters import TRAINED
from emocaliber.stages.loading import load_processor
from emocaliber.stages.training import ADAPTER, MODEL

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def export(stage: Finished, out: Path, *, merge: bool, scorecard: Path | None, dataset: str | None = None) -> Path:
    """Write the folder under a temporary name, then move it into place. `dataset` is the Hub name of the evaluated
    data.

    Raises UserError if `out` exists already or the folder `scorecard` has no scorecard.
    """
    results = None if scorecard is None else read_results(scorecard)
    if os.path.lexists(out):
        raise UserError(f"--out: {out} exists already; name a folder that does not")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        partial = Path(folder) / out.name
        partial.mkdir()
        _write(stage, partial, merge=merge)
        card = model_card(stage, out.name, merged=merge, results=results, dataset=checked_dataset(dataset))
        (partial / "README.md").write_text(card, encoding="utf-8")
        if results is not None and dataset is not None:
            file = partial / EVAL_RESULTS_FOLDER / f"{dataset.replace('/', '--')}.yaml"
            file.parent.mkdir()
            file.write_text(eval_results(results, dataset), encoding="utf-8")
        try:
            partial.rename(out)
        except OSError:
            raise UserError(f"--out: {out} was made by another process meanwhile; name another folder") from None
    return out


def _write(stage: Finished, partial: Path, *, merge: bool) -> None:
    if merge and stage.is_adapter:
        _merged(stage).save_pretrained(partial)
        for name in (TRAINED, QUESTION_FILE):
            if (record := stage.folder / ADAPTER / name).is_file():
                shutil.copy(record, partial)
    else:
        source = stage.folder / (ADAPTER if stage.is_adapter else MODEL)
        shutil.copytree(source, partial, dirs_exist_ok=True)
    _forget_folders(partial, str(stage.recipe["model"]))
    processor: Any = load_processor(stage.base, stage.recipe["max_pixels"], stage.recipe.get("thinking"))
    processor.save_pretrained(partial)
    for file in partial.rglob("*"):
        if file.suffix in PICKLES:
            raise UserError(f"{file.name}: a pickled file must not be shared; the stage's folder holds one")


def _merged(stage: Finished) -> Any:
    """Base and adapter in one, added up in float32 and rounded once, to the type of the base's own weights."""
    base: Any = AutoModelForImageTextToText.from_pretrained(stage.base, dtype="auto", use_safetensors=True)
    own_type = base.dtype
    adapted: Any = PeftModel.from_pretrained(base.float(), str(stage.folder / ADAPTER))
    return adapted.merge_and_unload().to(own_type)


def _forget_folders(partial: Path, base: str) -> None:
    """Name the base as the recipe does, without the folders that it lay in here."""
    name = without_folder(base)
    for file, key in ((ADAPTER_CONFIG, "base_model_name_or_path"), (QUESTION_FILE, "base")):
        path = partial / file
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            path.write_text(json.dumps(content | {key: name}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
