"""One stage from its recipe: `emocaliber train RECIPE --out DIR`, resumable.

Not the whole road (see run): stages 2 and 3 start from the adapter of the stage before, given by `--adapter`.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import PartialState
from safetensors import SafetensorError

from emocaliber.backbones.tiny import embedded_base
from emocaliber.datasets.embedded import FILES
from emocaliber.datasets.splits import check_disjoint
from emocaliber.errors import UserError
from emocaliber.generation.fingerprint import fingerprint
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.images import ImageError, read_image_bytes
from emocaliber.pipeline.asking import ask_labels, asked_journal, forget_asked
from emocaliber.pipeline.pairs import read_pairs
from emocaliber.pipeline.processes import asked_by_all, join
from emocaliber.pipeline.steps import Inputs, file_hash, is_done, refuse_changes, run_step
from emocaliber.pipeline.teachers import believed
from emocaliber.pipeline.teaching import (
    Floats,
    held_out_split,
    labelled,
    own_answers,
    samples_of,
    scaled,
    verbalized,
)
from emocaliber.pipeline.trackers import keep_boards, refuse_missing
from emocaliber.prompting import load_template
from emocaliber.samples import FileImage, Sample
from emocaliber.shortage import shortage
from emocaliber.stages.calibrate.dpo import calibrate_by_dpo
from emocaliber.stages.calibrate.grpo import calibrate_by_grpo
from emocaliber.stages.calibrate.held_out import BEST
from emocaliber.stages.calibrate.kto import calibrate_by_kto
from emocaliber.stages.calibrate.proper import calibrate_by_proper_loss
from emocaliber.stages.calibrate.rloo import calibrate_by_rloo
from emocaliber.stages.conversations import Lesson
from emocaliber.stages.folds import fold_of
from emocaliber.stages.kept_features import FEATURES, remembering
from emocaliber.stages.profiling import ASKING, part
from emocaliber.stages.recipe import Method, Recipe
from emocaliber.stages.supervised import train_supervised
from emocaliber.stages.training import CHECKPOINTS, limit_pixels, missing_model, result_name

ANSWER_TOKENS = 32  # the longest "<answer>disappointment</answer><confidence>0.85</confidence>" in digits takes fewer

METHODS: dict[Method, Callable[[Recipe, Sequence[Lesson], Sequence[Lesson], str, Path | None, Path], None]] = {
    "proper": calibrate_by_proper_loss,
    "grpo": calibrate_by_grpo,
    "rloo": calibrate_by_rloo,
}
"""The methods of stage 3 that learn from rows; the others learn from pairs."""


def model_folder(recipe: Recipe) -> str:
    """The model to load: the embedded one for `tiny`."""
    return str(embedded_base()) if recipe.model == "tiny" else recipe.model


def train(recipe: Recipe, adapter: Path | None, out: Path, *, features: Path | None = None) -> dict[str, Any]:
    """Run one stage in `out`, which ends with `out/adapter` (`out/model` where every weight learns).

    `features` is where the stage before left what its frozen vision tower saw, and where this one leaves it for the
    next; without it, it is removed. Returns what the stage learned from, for the report. Raises UserError where a later
    stage is given no adapter, a split overlaps another, the folder was started with other inputs, or the machine is too
    small.
    """
    if recipe.stage != "label" and adapter is None and recipe.tuning == "lora":
        raise UserError(f"{recipe.path}: stage {recipe.stage} goes on from an adapter; give it with --adapter DIR")
    if adapter is not None and not (adapter / "adapter_config.json").is_file():
        raise UserError(f"{adapter}: no adapter lies here; a stage leaves it in the folder `adapter` of its --out")
    refuse_missing(recipe)
    processes = join(recipe)
    samples = samples_of(recipe.data, recipe.splits)
    check_disjoint(samples_of(recipe.data, ["train", "unlabelled", "calibrate", "test"]))
    inputs = inputs_of(recipe, adapter, samples)

    def work(folder: Path) -> dict[str, Any]:
        processes.wait_for_everyone()
        with mendable(recipe, out), carried(features, folder / FEATURES):
            return _train(recipe, samples, adapter, folder)

    if is_done(out, inputs) or processes.is_main_process:
        refuse_changes(out, inputs)
        return run_step(out, inputs, work)
    return work(out)


@contextmanager
def carried(features: Path | None, kept: Path) -> Iterator[None]:
    """Features lie in `kept` meanwhile; after a stop they are found there, since nothing is copied."""
    alone = PartialState().num_processes == 1
    if features is not None and alone and features.is_dir() and not kept.is_dir():
        features.rename(kept)
    yield
    if features is not None and alone and kept.is_dir():
        shutil.rmtree(features, ignore_errors=True)  # of a stage that was done again meanwhile
        kept.rename(features)
    elif PartialState().is_main_process:
        shutil.rmtree(kept, ignore_errors=True)


@contextmanager
def mendable(recipe: Recipe, out: Path) -> Iterator[None]:
    """Say in one sentence what to do where memory or disk run out; what is saved is kept, and the run goes on."""
    try:
        yield
    except Exception as error:
        match shortage(error):
            case "memory":
                raise UserError(
                    f"{recipe.path}: the memory is full; halve per_device_train_batch_size and double"
                    " gradient_accumulation_steps, lower max_pixels or lora_r, or give quantization=nf4 (see"
                    " `emocaliber estimate`)"
                ) from error
            case "disk":
                raise UserError(f"{out}: the disk is full; free some, and run again: it goes on") from error
        if isinstance(error, SafetensorError):
            raise UserError(
                f"{recipe.path}: weights of {recipe.model} or of the adapter cannot be read ({error}): the file is"
                " broken off; fetch or write it again"
            ) from error
        raise


def inputs_of(recipe: Recipe, adapter: Path | None, samples: Sequence[Sample]) -> Inputs:
    """Everything that the result depends on."""
    settings = {k: v for k, v in vars(recipe).items() if k not in {"path", "keep_features", "packing"}}
    return {
        "recipe": settings,
        "data": {name: file_hash(FILES.get(name, Path(name))) for name in recipe.data},
        "model": _fingerprint_of_model(recipe),
        "adapter": fingerprint(adapter),
        "template": load_template(recipe.template).hash,
        **_pictures_beside(samples),
        **({"teachers": [fingerprint(Path(one)) for one in recipe.teachers]} if recipe.teachers else {}),
        **({} if recipe.pairs is None else {"pairs": _hash_of_pairs(recipe)}),
    }


def _fingerprint_of_model(recipe: Recipe) -> str:
    try:
        return fingerprint(model_folder(recipe))
    except FileNotFoundError as error:
        raise UserError(missing_model(recipe.model, error)) from error


def _pictures_beside(samples: Sequence[Sample]) -> Inputs:
    """One hash over the pictures that a data file names; those that it holds are in its own. Unreadable ones, too, are
    counted: what reads them says so."""
    digest, beside = hashlib.sha256(), [s.image for s in samples if isinstance(s.image, FileImage)]
    for image in beside:
        try:
            digest.update(hashlib.sha256(read_image_bytes(image)).digest())
        except ImageError as error:
            digest.update(error.kind.encode())
    return {"pictures": digest.hexdigest()[:16]} if beside else {}


def _hash_of_pairs(recipe: Recipe) -> str:
    path = Path(str(recipe.pairs))
    if not path.is_file():
        raise UserError(f"{recipe.path}: pairs: there is no file {path}; make it with `emocaliber pairs`")
    return file_hash(path)


def _train(recipe: Recipe, samples: list[Sample], adapter: Path | None, out: Path) -> dict[str, Any]:
    stages = {"label": _label, "verbalize": _verbalize, "calibrate": _calibrate}
    result = stages[recipe.stage](recipe, samples, adapter, out)
    if PartialState().is_main_process:
        keep_boards(out / CHECKPOINTS)
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
        forget_asked(out)
    return result


def _label(recipe: Recipe, samples: list[Sample], adapter: Path | None, out: Path) -> dict[str, Any]:
    if recipe.fold is not None:
        fold = fold_of(recipe.fold)
        samples = [one for one in samples if not fold.holds(one.cluster)]
    lessons = labelled(samples, load_template(recipe.template), votes=recipe.target == "votes")
    train_supervised(recipe, lessons, model_folder(recipe), adapter, out, title="label")
    return {"lessons": len(lessons)}


def _verbalize(recipe: Recipe, samples: list[Sample], adapter: Path | None, out: Path) -> dict[str, Any]:
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


def _calibrate(recipe: Recipe, samples: list[Sample], adapter: Path | None, out: Path) -> dict[str, Any]:
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
        shutil.rmtree(out / result_name(recipe))
        shutil.copytree(out / BEST, out / result_name(recipe))
    return result


def _prefer(
    recipe: Recipe, file: str, samples: list[Sample], held: list[Lesson], adapter: Path | None, out: Path
) -> dict[str, Any]:
    """Learn from the pairs whose clusters are not held out."""
    by_key = {(one.task, one.id): one for one in samples}
    watched = {one.sample.cluster for one in held}
    pairs = read_pairs(Path(file), by_key)
    kept = [pair for pair in pairs if by_key[pair.key].cluster not in watched]
    if not kept:
        raise UserError(f"{recipe.path}: every pair of {file} is about a held-out row; draw from more rows")
    prefer = calibrate_by_dpo if recipe.method == "dpo" else calibrate_by_kto
    prefer(recipe, kept, by_key, held, model_folder(recipe), adapter, out)
    return {"pairs": len(kept), "pairs held out": len(pairs) - len(kept)}


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
