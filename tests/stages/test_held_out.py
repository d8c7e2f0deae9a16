"""The held-out evaluation: its short readings are greedy decoding, and its cost is bounded at the recipes' defaults."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from emocaliber.core.prompting import LEVELS, load_template
from emocaliber.core.samples import Sample
from emocaliber.data.embedded import load
from emocaliber.models.location import read_question
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.calibrate.greedy import AnswerReader, greedy_answers
from emocaliber.stages.calibrate.held_out import evaluated_rows, evaluation_interval, select_weights
from emocaliber.stages.calibrate.proper import calibrate_by_proper_loss
from emocaliber.stages.examples import TrainingExample, as_dataset
from emocaliber.stages.recipe import Recipe, load_recipe
from emocaliber.stages.supervised import trainer_keys
from emocaliber.stages.targets import spread_over_levels
from tests.runs.short_runs import ON_CPU
from tests.stages.families import FAMILIES, save_family

RECIPES = Path(__file__).parents[2] / "recipes"
BIG = ["qwen2.5-vl-7b/3-calibrate.yaml", "qwen2.5-vl-7b/3-calibrate-grpo.yaml", "qwen3-vl-8b/3-calibrate.yaml"]
TEMPLATE = load_template("label-confidence")


def recipe(*overrides: str) -> Recipe:
    return load_recipe(RECIPES / "tiny" / "3-calibrate.yaml", trainer_keys(), [*ON_CPU, *overrides])


def examples(samples: list[Sample]) -> list[TrainingExample]:
    return [
        TrainingExample(
            sample,
            TEMPLATE.write(label=sample.candidates[n % 3], confidence=LEVELS[(7 * n + 20) % 21]),
            tuple(1 / len(sample.candidates) for _ in sample.candidates),
            spread_over_levels(LEVELS[(7 * n + 20) % 21], 0.05),
            correct=float(sample.candidates[n % 3] == sample.label),
        )
        for n, sample in enumerate(samples)
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_answer_read_from_the_cache_is_that_of_passes_over_everything(family: str) -> None:
    """Prompts of two tasks, and so of two lengths, beside each other; the model's weights are random but large."""
    torch.manual_seed(1)
    model, processor = FAMILIES[family]()
    model.eval()
    paths = AnswerPaths(processor, TEMPLATE)
    both = examples([*load("kaomoji", "calibrate")[:3], *load("emoji", "calibrate")[:3]])
    rows = [as_dataset(both, TEMPLATE)[n] for n in range(6)]
    together = greedy_answers(model, rows, AnswerReader(processor, paths))
    assert together == [greedy_answers(model, [row], AnswerReader(processor, paths))[0] for row in rows]
    for stated, row in zip(together, rows, strict=True):
        example: TrainingExample = row["example"]
        labels = example.sample.candidates
        options = [(label, level) for label in (stated.label,) for level in LEVELS]
        assert stated.label in labels
        best = max(
            options,
            key=lambda option: digits(model, processor, row, TEMPLATE.write(label=option[0], confidence=option[1])),
        )
        assert stated.confidence == best[1]


@torch.inference_mode()
def digits(model: Any, processor: Any, row: dict[str, Any], completion: str) -> tuple[float, ...]:
    """The logits of a level's digits in turn, from one pass over question and answer without a cache."""
    chat = [*row["prompt"], {"role": "assistant", "content": [{"type": "text", "text": completion}]}]
    texts = [processor.apply_chat_template(chat, tokenize=False)]
    inputs = processor(text=texts, images=[row["images"]], return_tensors="pt", add_special_tokens=False)
    ids = inputs["input_ids"][0].tolist()
    places = [n for n in range(len(ids)) if processor.tokenizer.decode([ids[n]]).isdigit()][-3:]
    logits = model(**inputs).logits[0]
    return tuple(float(logits[n - 1, ids[n]]) for n in places)


@contextmanager
def counted(counts: dict[bool, int]) -> Iterator[None]:
    """Tokens that pass through any Qwen2.5-VL language model inside, while it trains and while it does not."""
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLTextModel

    forward = Qwen2_5_VLTextModel.forward

    def counting(self: Any, *arguments: Any, **named: Any) -> Any:
        counts[self.training] += named["inputs_embeds"].shape[:2].numel()
        return forward(self, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Qwen2_5_VLTextModel, "forward", counting)
        yield


@pytest.mark.slow
def test_an_evaluation_costs_little_more_than_a_pass_and_the_recipes_have_few(tmp_path: Path) -> None:
    """Forward tokens: what is evaluated is at most 15 % of what the stage asks and trains on."""
    rows = examples(load("kaomoji", "calibrate")[:16])
    counts = {True: 0, False: 0}
    settings = ["max_steps=4", "save_steps=0.5", "packing=false", "keep_features=false", "max_pixels=451584"]
    model = save_family("qwen2.5-vl", tmp_path / "model")
    with counted(counts):
        calibrate_by_proper_loss(recipe(*settings), rows[:8], rows[8:], str(model), None, tmp_path / "out")
    trained = 4 * 4  # rows: steps, and a batch of two twice
    looks = len((tmp_path / "out" / "held_out.jsonl").read_text().splitlines())
    assert looks == 3, "at the start, after half of the steps, at the end"
    per_row = (counts[False] / (looks * 8)) / (counts[True] / trained)
    assert per_row < 3, "a short answer is read again, its question is not"
    queried = sum(len([s for s in load(task, "calibrate") if s.label]) for task in ("kaomoji", "emoji"))
    question = 576 + 60  # picture and words of the 7B recipes
    answer = (per_row - 1) * (counts[True] / trained)  # what the readings add to a question's tokens
    for name in BIG:
        settings_of = yaml.safe_load((RECIPES / name).read_text())
        share, most = settings_of["held_out_steps"], settings_of["held_out_rows"]
        evaluated = (1 + round(1 / share)) * min(most, settings_of["held_out"] * queried) * (question + answer)
        if settings_of["method"] == "proper":
            learned = (1 - settings_of["held_out"]) * queried * settings_of["num_train_epochs"] * question
        else:  # each question for its draws, for their log-probabilities, and for the reference
            batch = settings_of["per_device_train_batch_size"] * settings_of["gradient_accumulation_steps"]
            learned = 3 * settings_of["max_steps"] * batch / settings_of["num_generations"] * question
        assert evaluated <= 0.15 * (queried * question + learned), name


@pytest.mark.slow
def test_what_is_kept_holds_its_question_and_pictures_stay_encoded(tmp_path: Path) -> None:
    rows = examples([*load("kaomoji", "calibrate")[:6], *load("emoji", "calibrate")[:6]])
    model = save_family("qwen2.5-vl", tmp_path / "model")
    chosen = recipe("held_out_rows=3", "held_out_steps=1", f"model={model}")
    calibrate_by_proper_loss(chosen, rows[:8], rows[8:], str(model), None, tmp_path / "out")
    looks = [json.loads(line) for line in (tmp_path / "out" / "held_out_costs.jsonl").read_text().splitlines()]
    assert [(look["step"], len(look["costs"])) for look in looks] == [(0, 3), (1, 3), (2, 3)]
    kept, folder = select_weights(tmp_path / "out", rows[8:], replace(chosen, gain_alpha=1e-9))
    assert (kept.step, folder) == (0, "start"), "three rows are no doubt's end"
    assert select_weights(tmp_path / "out", rows[8:], replace(chosen, gain_alpha=1.0))[1] in (None, "best")
    for folder in ("adapter", "best", "start"):
        question = read_question(tmp_path / "out" / folder)
        assert question is not None
        assert question.tasks == {"kaomoji": rows[0].sample.candidates, "emoji": rows[6].sample.candidates}
        assert (question.template, question.stage, question.base) == (TEMPLATE, "calibrate", str(model))


def test_a_part_of_the_rows_is_drawn_by_the_seed_and_stays_in_order() -> None:
    rows = examples(load("kaomoji", "calibrate")[:40])
    chosen = recipe("held_out_rows=10")
    drawn = evaluated_rows(rows, chosen)
    numbers = [rows.index(example) for example in drawn]
    assert len(set(numbers)) == 10
    assert numbers == sorted(numbers)
    assert drawn == evaluated_rows(rows, chosen)
    assert drawn != evaluated_rows(rows, replace(chosen, seed=1))
    assert evaluated_rows(rows, recipe()) == rows
    assert evaluated_rows(rows[:4], chosen) == rows[:4]


@pytest.mark.parametrize(("steps", "expected"), [(10, 10), (10.0, 10), (0.1, 6), (0.5, 30), (0.001, 1)])
def test_resume_are_a_number_or_a_share(steps: float, expected: int) -> None:
    assert evaluation_interval(steps, 60) == expected


def test_the_drawn_rows_are_spread_over_the_held_out_ones() -> None:
    rows = examples(load("kaomoji", "calibrate")[:200])
    numbers = np.array([rows.index(example) for example in evaluated_rows(rows, recipe("held_out_rows=50"))])
    assert 60 < numbers.mean() < 140
