"""What each stage does in its folder: ask the stage before, make lessons of what it says, and learn them.

Not the folder's bookkeeping, nor what a full disk or memory says (see train).

    emocaliber train recipes/tiny/2-verbalize.yaml --adapter out/demo/1-label/adapter --out out/2-verbalize
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import PartialState

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import replace_folder
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.runs.asking import ask_labels, asked_journal
from emocaliber.runs.pairs import read_pairs
from emocaliber.runs.processes import asked_by_all
from emocaliber.runs.recipes import model_folder
from emocaliber.runs.teachers import believed
from emocaliber.runs.teaching import Floats, held_out_split, labelled, own_answers, scaled, verbalized
from emocaliber.stages.calibrate.dpo import calibrate_by_dpo
from emocaliber.stages.calibrate.grpo import calibrate_by_grpo
from emocaliber.stages.calibrate.held_out import BEST
from emocaliber.stages.calibrate.kto import calibrate_by_kto
from emocaliber.stages.calibrate.proper import calibrate_by_proper_loss
from emocaliber.stages.calibrate.rloo import calibrate_by_rloo
from emocaliber.stages.calibrate.split import held_out_clusters, write_trained_clusters
from emocaliber.stages.conversations import Lesson
from emocaliber.stages.fast.kept_features import remembering
from emocaliber.stages.folds import fold_of
from emocaliber.stages.profiling import ASKING, part
from emocaliber.stages.recipe import Method, Recipe
from emocaliber.stages.supervised import train_supervised
from emocaliber.stages.training import limit_pixels, missing_model, result_name

ANSWER_TOKENS = 32  # the longest "<answer>disappointment</answer><confidence>0.85</confidence>" in digits takes fewer

METHODS: dict[Method, Callable[[Recipe, Sequence[Lesson], Sequence[Lesson], str, Path | None, Path], None]] = {
    "proper": calibrate_by_proper_loss,
    "grpo": calibrate_by_grpo,
    "rloo": calibrate_by_rloo,
}
"""The methods of stage 3 that learn from rows; the others learn from pairs."""


def label(recipe: Recipe, samples: list[Sample], adapter: Path | None, out: Path) -> dict[str, Any]:
    """Stage 1: the labels of these rows, or their raters' votes; rows of a fold that is left out are not seen."""
    if recipe.fold is not None:
        fold = fold_of(recipe.fold)
        samples = [one for one in samples if not fold.holds(one.cluster)]
    lessons = labelled(samples, load_template(recipe.template), votes=recipe.target == "votes")
    train_supervised(recipe, lessons, model_folder(recipe), adapter, out, title="label")
    return {"lessons": len(lessons)}


def verbalize(recipe: Recipe, samples: list[Sample], adapter: Path | None, out: Path) -> dict[str, Any]:
    """Stage 2: what the stage before would bet, asked of it first, as the confidence to state."""
    print(f"  asking the stage-1 model about {len(samples)} pictures", flush=True)

    def ask(one: Path, rows: Sequence[Sample]) -> list[Floats]:
        with teacher(recipe, one, out) as engine, asked_journal(out) as journal:
            return asked_by_all(rows, lambda part: ask_labels(part, engine, journal))

    # A teacher lives no longer than the asking: beside the model that learns it would take its memory twice.
    if recipe.teachers:
        lessons, temperatures = scaled(recipe, samples, lambda rows: believed(recipe, rows, ask))
    else:
        with teacher(recipe, adapter, out) as engine, asked_journal(out) as journal:
            lessons, temperatures = verbalized(recipe, samples, engine, journal)
        del engine
    train_supervised(recipe, lessons, model_folder(recipe), adapter, out, title="verbalize")
    return {"lessons": len(lessons), "temperatures": temperatures}


def calibrate(recipe: Recipe, samples: list[Sample], adapter: Path | None, out: Path) -> dict[str, Any]:
    """Stage 3: the model's own answers and whether they were right; ends with the step that was kept.

    Raises UserError where the method needs labels that a row lacks, or every pair is held out.
    """
    missing = next((one.id for one in samples if one.label is None), None)
    if missing is not None and recipe.method != "proper":
        raise UserError(
            f"{recipe.path}: splits: {missing} has no label, and method {recipe.method} pays for right answers; only"
            " method proper learns from such rows: leave their split out (splits=[calibrate])"
        )
    print(f"  asking the stage-2 model about {len(samples)} pictures", flush=True)
    with teacher(recipe, adapter, out) as engine, asked_journal(out) as journal:
        answers = own_answers(samples, engine, load_template(recipe.template), recipe.spread, journal)
    del engine
    fit, held = held_out_split(answers, samples, recipe.held_out, recipe.seed)
    result = {"held_out": len(held), "unreadable": len(samples) - len(answers)}
    if recipe.pairs is None:
        METHODS[recipe.method](recipe, fit, held, model_folder(recipe), adapter, out)
        result |= {"lessons": len(fit)}
    else:
        result |= _prefer(recipe, recipe.pairs, samples, held, adapter, out)
    if PartialState().is_main_process:
        partial = out / f"{result_name(recipe)}.partial"
        shutil.copytree(out / BEST, partial, dirs_exist_ok=True)
        write_trained_clusters(partial, {one.cluster for one in samples} - _held_out(recipe, samples))
        replace_folder(partial, out / result_name(recipe))
    return result


def _prefer(
    recipe: Recipe, file: str, samples: list[Sample], held: list[Lesson], adapter: Path | None, out: Path
) -> dict[str, Any]:
    """Learn from the pairs whose clusters are not held out."""
    by_key = {(one.task, one.id): one for one in samples}
    held_out, pairs = _held_out(recipe, samples), read_pairs(Path(file), by_key)
    kept = [pair for pair in pairs if by_key[pair.key].cluster not in held_out]
    if not kept:
        raise UserError(f"{recipe.path}: every pair of {file} is about a held-out row; draw from more rows")
    prefer = calibrate_by_dpo if recipe.method == "dpo" else calibrate_by_kto
    prefer(recipe, kept, by_key, held, model_folder(recipe), adapter, out)
    return {"pairs": len(kept), "pairs held out": len(pairs) - len(kept)}


def _held_out(recipe: Recipe, samples: Sequence[Sample]) -> frozenset[str]:
    labelled_clusters = (one.cluster for one in samples if one.label is not None)
    return held_out_clusters(labelled_clusters, recipe.held_out, recipe.seed)


@contextmanager
def teacher(recipe: Recipe, adapter: Path | None, out: Path) -> Iterator[TransformersEngine]:
    """The model of the stage before, on this process's device, seeing pictures as large as the learner does.

    What its vision tower makes of them is kept in `out` for the learner, where that is the same tower. Raises UserError
    where it cannot be loaded.
    """
    model = model_folder(recipe)
    try:
        engine = TransformersEngine(
            model,
            adapter=adapter,
            device=str(PartialState().device),
            batch_size=recipe.ask_batch_size,
            max_new_tokens=ANSWER_TOKENS,
            temperature=1.0 if recipe.stage == "verbalize" and recipe.target == "agreement" else 0.0,
            seed=recipe.seed,
        )
    except OSError as error:
        raise UserError(missing_model(model, error)) from error
    if recipe.max_pixels is not None:
        limit_pixels(engine.processor, recipe.max_pixels)
    reader = remembering(recipe, engine.model, engine.processor, out)
    engine.processor = reader or engine.processor
    with part(ASKING):
        yield engine
    if reader is not None:
        reader.store.seal()
