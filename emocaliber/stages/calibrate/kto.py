"""Stage 3 by KTO (Ethayarajh et al. 2024, arXiv 2402.01306) on the two sides of each pair, by TRL's trainer.

Not DPO: each answer is judged alone, as desirable or not, against a reference point that TRL estimates from the other
answers of a batch. The order is shuffled once by the recipe's seed: the trainer goes through it as it stands, so that a
batch holds both kinds and its estimate is of the same pictures whenever a stopped run goes on.

    method: kto
    pairs: out/pairs.jsonl
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import PrinterCallback, ProgressCallback
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from emocaliber.core.images import load_image
from emocaliber.core.prompting import Template, load_template, messages
from emocaliber.core.samples import Sample
from emocaliber.stages.calibrate.held_out import HeldOut
from emocaliber.stages.calibrate.proper import watch_of
from emocaliber.stages.conversations import Lesson
from emocaliber.stages.pairs import NO_PAIRS, Key, Pair
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.training import Log, finish, fixed_settings, load_processor, load_trainable, result_name


def calibrate_by_kto(
    recipe: Recipe,
    pairs: Sequence[Pair],
    samples: Mapping[Key, Sample],
    held_out: Sequence[Lesson],
    model: str,
    adapter: Path | None,
    out: Path,
) -> None:
    """Train on the pairs about `samples` (by task and id), select on `held_out`: the best adapter goes to `out/best`.

    Raises ValueError where there is no pair.
    """
    if not pairs:
        raise ValueError(NO_PAIRS)
    trainer = KTOTrainer(
        model=load_trainable(recipe, model, adapter),
        args=KTOConfig(**(recipe.trainer | fixed_settings(recipe, out) | {"max_length": None})),
        train_dataset=_judged(pairs, samples, load_template(recipe.template), recipe.seed),
        processing_class=load_processor(model, recipe.max_pixels),
        callbacks=[Log(out, "calibrate"), HeldOut(watch_of(recipe, held_out, model, out))],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    finish(trainer, out, result_name(recipe))


def _judged(pairs: Sequence[Pair], samples: Mapping[Key, Sample], template: Template, seed: int) -> Dataset:
    answers = [(pair, pair.chosen, True) for pair in pairs] + [(pair, pair.rejected, False) for pair in pairs]
    order = np.random.default_rng(seed).permutation(len(answers)).tolist()

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [answers[i] for i in batch["answer"]]
        asked = [samples[pair.key] for pair, _, _ in chosen]
        return {
            "prompt": [messages(template.render(one.candidates)) for one in asked],
            "completion": [[{"role": "assistant", "content": text}] for _, text, _ in chosen],
            "label": [good for _, _, good in chosen],
            "images": [[load_image(one.image)] for one in asked],
        }

    return Dataset.from_dict({"answer": order}).with_transform(rows)
