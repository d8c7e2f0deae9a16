"""Several teachers of stage 2: their mean probability, and, where each was kept from a fold, nobody judging a row whose
label it learned (cross-fitting).

Not the asking of one (see asking).

    emocaliber train recipes/tiny/1-label.yaml fold=1/3 --out out/1        # and 2/3, 3/3
    emocaliber train recipes/tiny/2-verbalize.yaml "teachers=[out/1/adapter, out/2/adapter, out/3/adapter]" \
        --adapter out/1-label/adapter --out out/2-verbalize
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.stages.folds import Floats, Fold, averaged, fold_of, speakers
from emocaliber.stages.recipe import Recipe

AskOne = Callable[[Path, Sequence[Sample]], list[Floats]]
"""From a teacher's adapter and samples to a distribution over the candidates of each."""


def believed(recipe: Recipe, samples: Sequence[Sample], ask: AskOne) -> list[Floats]:
    """What the recipe's teachers believe on average, each of the rows that it speaks for.

    Raises UserError where how one was trained is not known, or a row has nobody to speak for it.
    """
    folders = [Path(one) for one in recipe.teachers]
    try:
        parts = speakers([one.cluster for one in samples], [kept_from(folder) for folder in folders])
    except ValueError as error:
        raise UserError(f"{recipe.path}: teachers: {error}") from None
    spoken = [(rows, ask(folder, [samples[i] for i in rows])) for folder, rows in zip(folders, parts, strict=True)]
    return averaged(len(samples), spoken)


def kept_from(adapter: Path) -> Fold | None:
    """The fold that a teacher did not learn from, as its training wrote down; None where it learned from all.

    Raises UserError where nothing was written down.
    """
    path = adapter.parent / "inputs.json"
    try:
        fold = json.loads(path.read_text())["recipe"].get("fold")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} should say how {adapter} was trained; name adapters where `emocaliber train` left them"
        ) from error
    return None if fold is None else fold_of(fold)
