"""What the result of a stage depends on: recipe, data, pictures, model, adapter. A folder resumes only with the same.

emocaliber train recipes/tiny/1-label.yaml --out DIR      writes them to DIR/inputs.json
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import FileImage, Sample
from emocaliber.data.embedded import FILES, samples_in
from emocaliber.data.facts import Facts, FactStore, facts_of, picture_key
from emocaliber.models.location import fingerprint, model_folder
from emocaliber.runs.resume import Inputs, file_hash
from emocaliber.stages.examples import in_splits
from emocaliber.stages.loading import missing_model
from emocaliber.stages.recipe import Recipe

SPEED = {"path", "keep_features", "packing", "share_questions"}
"""What of a recipe changes the speed alone."""


def samples_of(data: Sequence[str], splits: Sequence[str]) -> list[Sample]:
    """The rows that belong to the splits; "emoji:train" is that split of one task. Raises UserError for none."""
    return in_splits(samples_in(data, splits), splits, data)


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
    digest, beside = hashlib.sha256(), [s.image for s in samples if isinstance(s.image, FileImage)]
    with FactStore() as store:
        for _, facts in facts_of(beside, lambda image: image, store, workers=1):
            digest.update(facts.content or facts.fault.encode())
    return {"pictures": digest.hexdigest()[:16]} if beside else {}


def _hash_of_pairs(recipe: Recipe) -> str:
    path = Path(str(recipe.pairs))
    if not path.is_file():
        raise UserError(f"{recipe.path}: pairs: there is no file {path}; make it with `emocaliber data pairs`")
    return file_hash(path)
