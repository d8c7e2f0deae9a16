"""Stage 1, label: name the emotion. Supervised, on labels or, where rows have votes, on the raters' distribution; with
a template that reasons, each row's rationale comes before its label.

emocaliber train recipes/tiny/1-label.yaml --out out/1-label
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.data.sample_table import summaries, take
from emocaliber.models.location import model_folder
from emocaliber.stages.clusters import fold_of
from emocaliber.stages.examples import in_splits, refuse_without_rationale
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.supervised import train_supervised
from emocaliber.stages.targets import label_examples
from emocaliber.stages.teacher import OpenTeacher


def label(
    recipe: Recipe, rows: Sequence[Sample], adapter: Path | None, out: Path, open_teacher: OpenTeacher
) -> dict[str, Any]:
    """Train on the recipe's splits of `rows`, without the fold that the recipe leaves out. No teacher is opened."""
    samples = in_splits(rows, recipe.splits, recipe.data)
    if recipe.fold is not None:
        fold = fold_of(recipe.fold)
        kept = [i for i, row in enumerate(summaries(samples)) if not fold.contains(row.cluster)]
        samples = take(samples, np.array(kept, int))
    refuse_without_rationale(recipe, samples)
    examples = label_examples(samples, load_template(recipe.template), votes=recipe.target == "votes")
    train_supervised(recipe, examples, model_folder(recipe.model), adapter, out, title="label")
    return {"examples": len(examples)}
