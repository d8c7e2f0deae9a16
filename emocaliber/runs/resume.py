"""Where resume lives: a step is a folder that is finished once for its inputs, and can be stopped at any moment.

`inputs.json` is what the step was started with: of a stage its recipe, data, pictures, model and adapter
(`inputs_of`). `done.json` is written last. The same inputs resume or are skipped, others are refused by name. What a
step repeats least is kept finer by others: training by its checkpoints (emocaliber.stages.training), responses by their
journal (emocaliber.generation.journal). Who may write to a folder is decided before by emocaliber.core.outputs.

    run_step(Path("out/report"), {"rows": "1a2b"}, lambda folder: {"rows": 11})
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING
from pathlib import Path
from typing import Any

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import RECORD
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import FileImage, Sample
from emocaliber.data.embedded import FILES, samples_in
from emocaliber.data.facts import Facts, FactStore, facts_of, picture_key
from emocaliber.data.sample_table import files_of
from emocaliber.models.location import fingerprint, model_folder
from emocaliber.stages.examples import in_splits
from emocaliber.stages.loading import missing_model
from emocaliber.stages.recipe import Recipe

Inputs = dict[str, Any]
INPUTS, DONE = "inputs.json", "done.json"
BOOKKEEPING = {RECORD, f"{INPUTS}.partial"}
DIFFERENCES_SHOWN = 6


def run_step(folder: Path, inputs: Inputs, work: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Do `work(folder)` unless it is done for these inputs; return its result, which must be JSON. Raises as `step`."""
    if (result := done_result(folder, inputs)) is None:
        with step(folder, inputs) as result:
            result.update(work(folder))
    return result


@contextmanager
def step(folder: Path, inputs: Inputs) -> Iterator[dict[str, Any]]:
    """A step's work is done inside, which puts its result, JSON values, into the mapping: then it is done.

    A folder that was started with the same inputs is handed over as it is, so that the work resumes. Raises UserError
    for a folder that was started with others, or that holds files and was not started as a step: nothing is removed.
    """
    inputs, result = json.loads(json.dumps(inputs)), dict[str, Any]()
    refuse_changes(folder, inputs)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / INPUTS, inputs)
    print(f"{folder.name}:", flush=True)
    began = time.monotonic()
    yield result
    seconds = round(time.monotonic() - began, 1)
    write_json(folder / DONE, {"inputs": inputs, "result": result, "seconds": seconds})
    print(f"{folder.name}: done in {seconds:.0f} s", flush=True)


def done_result(folder: Path, inputs: Inputs) -> dict[str, Any] | None:
    """The result of a step that was finished for these inputs; None where it was not."""
    done = _read(folder / DONE)
    if done is None or _differences(done["inputs"], json.loads(json.dumps(inputs))):
        return None
    print(f"{folder.name}: already done")
    return dict(done["result"])


def refuse_changes(folder: Path, inputs: Inputs) -> None:
    """Raises UserError that names the differences where the folder was started with other inputs, and for a folder of
    files that was not started as a step."""
    before = _read(folder / INPUTS)
    if before is None:
        names = (
            sorted(file.name for file in folder.iterdir() if file.name not in BOOKKEEPING) if folder.is_dir() else []
        )
        if names:
            raise UserError(f"{folder} holds {names[0]}, which this step did not write; name another --out")
        return
    changed = _differences(before, json.loads(json.dumps(inputs)))
    if not changed:
        return
    shown = "; ".join(changed[:DIFFERENCES_SHOWN])
    more = f"; and {len(changed) - DIFFERENCES_SHOWN} more" if len(changed) > DIFFERENCES_SHOWN else ""
    raise UserError(f"{folder} was started with other inputs ({shown}{more}); name another --out, or remove the folder")


def _differences(before: Inputs, now: Inputs) -> list[str]:
    """What differs, a sentence each. A recipe's key that did not exist when the step was started had its default then,
    and None is the same as nothing."""
    old, new = ({f"recipe.{key}": value for key, value in DEFAULTS.items()} | _flat(each) if "recipe" in each
                else _flat(each) for each in (before, now))  # fmt: skip
    changed = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    return [f"{key}: {old.get(key)!r} is now {new.get(key)!r}" for key in changed]


def _flat(inputs: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(inputs, dict):
        return {name: inputs}
    return {
        key: value
        for part, content in inputs.items()
        for key, value in _flat(content, f"{name}.{part}" if name else str(part)).items()
    }


def write_json(path: Path, content: Any) -> None:
    """Write beside the place, then move: a reader never sees half of it."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def file_hash(path: Path) -> str:
    """The first 16 hex digits of a file's SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


SPEED = {"path", "keep_features", "packing", "share_questions", "lora_partial"}
"""What of a recipe changes the speed alone, or allows what it says elsewhere."""


DEFAULTS = {
    key: json.loads(json.dumps(one.default))
    for key, one in Recipe.__dataclass_fields__.items()
    if one.default is not MISSING and key not in SPEED
}
"""The recipe keys that have a default, as JSON values."""


def samples_of(data: Sequence[str], splits: Sequence[str]) -> list[Sample]:
    """The rows that belong to the splits; "emoji:train" is that split of one task. Raises UserError for none."""
    return list(in_splits(samples_in(data), splits, data))


def inputs_of(recipe: Recipe, adapter: Path | None, samples: Sequence[Sample]) -> Inputs:
    """Everything that the result depends on, as JSON values: settings, and hashes of files.

    Raises UserError where the recipe's model or its pairs are not there.
    """
    settings = {key: value for key, value in vars(recipe).items() if key not in SPEED}
    return {
        "recipe": settings,
        "data": {name: hash_of_data(FILES.get(name, Path(name))) for name in recipe.data},
        "model": _fingerprint_of_model(recipe),
        "adapter": fingerprint(adapter),
        "template": load_template(recipe.template).hash,
        **_pictures_beside(samples),
        **({"teachers": [fingerprint(Path(folder)) for folder in recipe.teachers]} if recipe.teachers else {}),
        **({} if recipe.pairs is None else {"pairs": _hash_of_pairs(recipe)}),
    }


def hash_of_data(path: Path) -> str:
    """The file's hash as `file_hash` gives it; remembered until the file changes, since it may be of gigabytes."""
    key = picture_key(FileImage(path.parent, path.name))
    with FactStore() as store:
        (known,) = store.find([key])
        facts = known or Facts(content=bytes.fromhex(file_hash(path)))
        if known is None:
            store.keep([(key, facts)])
    return facts.content.hex()


def _fingerprint_of_model(recipe: Recipe) -> str:
    try:
        return fingerprint(model_folder(recipe.model))
    except FileNotFoundError as error:
        raise UserError(missing_model(recipe.model, error)) from error


def _pictures_beside(samples: Sequence[Sample]) -> Inputs:
    """One hash over the pictures that a data file names; those that it holds are in its own. Unreadable ones, too, are
    counted: what reads them says so."""
    digest, beside = hashlib.sha256(), files_of(samples)
    with FactStore() as store:
        for _, facts in facts_of(beside, lambda image: image, store, workers=1):
            digest.update(facts.content or facts.fault.encode())
    return {"pictures": digest.hexdigest()[:16]} if beside else {}


def _hash_of_pairs(recipe: Recipe) -> str:
    path = Path(str(recipe.pairs))
    if not path.is_file():
        raise UserError(f"{recipe.path}: pairs: there is no file {path}; make it with `emocaliber data pairs`")
    return file_hash(path)
