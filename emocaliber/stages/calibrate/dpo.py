"""Stage 3 by preferences: DPO (Rafailov et al. 2023) on pairs of sampled answers, by TRL's trainer.

Not the maker of the pairs (see emocaliber.stages.pairs). The loss does not use a pair's margin: close pairs are left
out when the pairs are made. The reference is the adapter that the stage starts from, frozen.

    method: dpo
    pairs: out/pairs.jsonl
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import PrinterCallback, ProgressCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from emocaliber.core.images import load_image
from emocaliber.core.prompting import Template, load_template, messages
from emocaliber.core.samples import Sample
from emocaliber.stages.calibrate.held_out import HeldOut
from emocaliber.stages.calibrate.proper import watch_of
from emocaliber.stages.conversations import Lesson
from emocaliber.stages.pairs import NO_PAIRS, Key, Pair
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.training import Log, finish, fixed_settings, load_processor, load_trainable, result_name


def calibrate_by_dpo(
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
    trainer = DPOTrainer(
        model=load_trainable(recipe, model, adapter),
        args=DPOConfig(**(recipe.trainer | fixed_settings(recipe, out) | {"max_length": None})),
        train_dataset=_preferences(pairs, samples, load_template(recipe.template)),
        processing_class=load_processor(model, recipe.max_pixels),
        callbacks=[Log(out, "calibrate"), HeldOut(watch_of(recipe, held_out, model, out))],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    finish(trainer, out, result_name(recipe))


def _preferences(pairs: Sequence[Pair], samples: Mapping[Key, Sample], template: Template) -> Dataset:
    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [pairs[i] for i in batch["pair"]]
        asked = [samples[one.key] for one in chosen]
        return {
            "prompt": [messages(template.render(one.candidates)) for one in asked],
            "chosen": [[{"role": "assistant", "content": one.chosen}] for one in chosen],
            "rejected": [[{"role": "assistant", "content": one.rejected}] for one in chosen],
            "images": [[load_image(one.image)] for one in asked],
        }

    return Dataset.from_dict({"pair": list(range(len(pairs)))}).with_transform(rows)
