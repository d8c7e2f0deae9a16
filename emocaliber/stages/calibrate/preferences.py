"""Stage 3 by preferences, on pairs of sampled answers (emocaliber.stages.pairs): TRL's DPO and KTO trainers.

DPO (Rafailov et al. 2023, arXiv 2305.18290) compares the two answers of a pair; KTO (Ethayarajh et al. 2024, arXiv
2402.01306) judges each alone, as desirable or not, against a reference point that TRL estimates from the other answers
of a batch. Neither uses a pair's margin; pairs that are too close are left out when the pairs are made. The reference
is the frozen adapter that the stage starts from. KTO's trainer does not shuffle, so its rows are shuffled here, once,
by the recipe's seed: a batch then has answers of both kinds, and a resumed run sees the same batches.

    method: dpo
    pairs: out/pairs.jsonl
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from emocaliber.core.images import load_image
from emocaliber.core.prompting import Template, load_template, messages
from emocaliber.core.samples import Sample
from emocaliber.stages.calibrate.held_out import HeldOutCallback
from emocaliber.stages.examples import TrainingExample, lazy_dataset, trained_question
from emocaliber.stages.loading import load_processor, load_trainable
from emocaliber.stages.pairs import NO_PAIRS, Key, Pair
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.training import Log, finish, fixed_settings, result_name


def calibrate_by_preferences(
    recipe: Recipe,
    pairs: Sequence[Pair],
    samples: Mapping[Key, Sample],
    held_out: Sequence[TrainingExample],
    model: str,
    adapter: Path | None,
    out: Path,
) -> None:
    """Train by the recipe's method, dpo or kto, on the pairs, whose samples are found by task and id in `samples`. The
    weights of the best step on `held_out` go to `out/best`.

    Raises ValueError where there are no pairs.
    """
    if not pairs:
        raise ValueError(NO_PAIRS)
    template, pixels = load_template(recipe.template), recipe.shown_pixels
    settings = recipe.trainer | fixed_settings(recipe, out) | {"max_length": None}
    common: dict[str, Any] = {
        "model": load_trainable(recipe, model, adapter),
        "processing_class": load_processor(model, recipe.max_pixels, recipe.thinking),
        "callbacks": [Log(out, "calibrate")],
    }
    if recipe.method == "dpo":
        dataset = dpo_dataset(pairs, samples, template, pixels)
        trainer: Any = DPOTrainer(args=DPOConfig(**settings), train_dataset=dataset, **common)
    else:
        dataset = kto_dataset(pairs, samples, template, recipe.seed, pixels)
        trainer = KTOTrainer(args=KTOConfig(**settings), train_dataset=dataset, **common)
    learned = [samples[pair.key] for pair in pairs]
    question = trained_question(recipe, [*learned, *(example.sample for example in held_out)])
    processor = load_processor(model, recipe.max_pixels, recipe.thinking)
    trainer.add_callback(HeldOutCallback(trainer, recipe, held_out, question, processor, out))
    finish(trainer, out, result_name(recipe), question)


def dpo_dataset(pairs: Sequence[Pair], samples: Mapping[Key, Sample], template: Template, max_pixels: int) -> Dataset:
    """A lazy dataset with TRL's columns for DPO, one row for each pair."""

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [pairs[i] for i in batch["pair"]]
        return _questions([samples[pair.key] for pair in chosen], template, max_pixels) | {
            "chosen": [_answer(pair.chosen) for pair in chosen],
            "rejected": [_answer(pair.rejected) for pair in chosen],
        }

    return lazy_dataset("pair", range(len(pairs)), rows)


def kto_dataset(
    pairs: Sequence[Pair], samples: Mapping[Key, Sample], template: Template, seed: int, max_pixels: int
) -> Dataset:
    """A lazy dataset with TRL's columns for KTO, one row for each answer (the chosen ones desirable), shuffled by the
    seed."""
    answers = [(pair, pair.chosen, True) for pair in pairs] + [(pair, pair.rejected, False) for pair in pairs]
    order = np.random.default_rng(seed).permutation(len(answers)).tolist()

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [answers[i] for i in batch["answer"]]
        return _questions([samples[pair.key] for pair, _, _ in chosen], template, max_pixels) | {
            "completion": [_answer(text) for _, text, _ in chosen],
            "label": [desirable for _, _, desirable in chosen],
        }

    return lazy_dataset("answer", order, rows)


def _questions(samples: Sequence[Sample], template: Template, max_pixels: int) -> dict[str, list[Any]]:
    return {
        "prompt": [messages(template.render(sample.candidates, question=sample.question)) for sample in samples],
        "images": [[load_image(sample.image, max_pixels)] for sample in samples],
    }


def _answer(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]
