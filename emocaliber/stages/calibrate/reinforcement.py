"""Stage 3 by reinforcement learning: sampled answers and a scoring-rule reward, by TRL's GRPO and RLOO trainers.

GRPO (arXiv 2402.03300) is used without dividing advantages by the group's standard deviation, which drives the
confidence in uncertain labels to 0 or 1 (Bereket & Leskovec 2025, arXiv 2508.11800); `scale_rewards: group` turns that
on, with a warning. RLOO (REINFORCE with the mean reward of the other samples as an unbiased baseline, Ahmadian et al.
2024, arXiv 2402.14740) has a KL penalty to the start, TRL's `beta` (0.05 by default). Both need many more forward
passes than the proper loss.

With `advantages: segments`, GRPO has a separate advantage for each segment of an answer: the label's tokens learn from
correctness, the confidence's from the score (after DCPO, arXiv 2603.09117, and CoCA, arXiv 2603.05881; a
reconstruction). A reward with a correctness term, such as Brier-1, is the sum of the two; as a single advantage, a bad
confidence would also penalise the label next to it.

    emocaliber train recipes/tiny/3-calibrate-grpo.yaml --adapter DIR --out out/grpo
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.rloo_config import RLOOConfig

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template
from emocaliber.stages.calibrate.draws import left_padding_processor, question_dataset, reward_function, reward_of
from emocaliber.stages.calibrate.held_out import HeldOutCallback
from emocaliber.stages.examples import TrainingExample, trained_question
from emocaliber.stages.fast.prompt_sharing import SharingGRPOTrainer, SharingRLOOTrainer
from emocaliber.stages.grading import completions_of, correctness_of, rewards_of
from emocaliber.stages.loading import load_processor, load_trainable
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.rewards import stated
from emocaliber.stages.training import Log, finish, fixed_settings, result_name


class ScaledAdvantages(UserWarning):
    """Advantages are divided by a standard deviation, which drives the confidence in uncertain labels to 0 or 1."""


SCALED = (
    "{key}: dividing by the standard deviation makes the confidence in uncertain labels extreme (Bereket & Leskovec"
    " 2025, arXiv 2508.11800); choose it for comparison only"
)


def calibrate_by_grpo(
    recipe: Recipe,
    examples: Sequence[TrainingExample],
    held_out: Sequence[TrainingExample],
    model: str,
    adapter: Path | None,
    out: Path,
) -> None:
    """Train on the examples, select on `held_out`: the best step's weights go to `out/best`."""
    args = GRPOConfig(**({"scale_rewards": "none"} | recipe.trainer | fixed_settings(recipe, out)))
    if args.scale_rewards != "none":
        warnings.warn(SCALED.format(key="scale_rewards"), ScaledAdvantages, stacklevel=2)
    if recipe.advantages == "segments" and args.scale_rewards != "none":
        raise UserError(f"{recipe.path}: scale_rewards: segments are never scaled; take the key out")
    common = _common(recipe, examples, model, adapter, out) | {"args": args}
    with rollout_engine(recipe):
        if recipe.advantages == "segments":
            tags = load_template(recipe.template).tags("confidence")
            trainer: SharingGRPOTrainer = SegmentTrainer(**common, reward_funcs=segment_rewards(recipe), tags=tags)
        else:
            trainer = SharingGRPOTrainer(**common, reward_funcs=[reward_function(recipe)])
    _finish(trainer, recipe, examples, held_out, model, out)


def calibrate_by_rloo(
    recipe: Recipe,
    examples: Sequence[TrainingExample],
    held_out: Sequence[TrainingExample],
    model: str,
    adapter: Path | None,
    out: Path,
) -> None:
    """Train on the examples, select on `held_out`: the best step's weights go to `out/best`."""
    args = RLOOConfig(**(recipe.trainer | fixed_settings(recipe, out)))
    if args.normalize_advantages:
        warnings.warn(SCALED.format(key="normalize_advantages"), ScaledAdvantages, stacklevel=2)
    common = _common(recipe, examples, model, adapter, out) | {"args": args}
    with rollout_engine(recipe):
        trainer = SharingRLOOTrainer(**common, reward_funcs=[reward_function(recipe)])
    _finish(trainer, recipe, examples, held_out, model, out)


@contextmanager
def rollout_engine(recipe: Recipe) -> Iterator[None]:
    """Give the vLLM engine that TRL builds inside this context the recipe's picture settings: one picture a prompt, of
    at most `max_pixels`. TRL 1.16 passes on neither, so that vLLM would produce other image tokens than the trainer and
    reserve memory for more pictures.
    """
    if not recipe.trainer.get("use_vllm"):
        yield
        return
    vllm_generation: Any = import_module("trl.generation.vllm_generation")
    plain = vllm_generation.LLM
    pictures: dict[str, Any] = {"limit_mm_per_prompt": {"image": 1, "video": 0}}
    if recipe.max_pixels is not None:
        pictures["mm_processor_kwargs"] = {"max_pixels": recipe.max_pixels}
    vllm_generation.LLM = partial(plain, **pictures)
    try:
        yield
    finally:
        vllm_generation.LLM = plain


def _common(
    recipe: Recipe, examples: Sequence[TrainingExample], model: str, adapter: Path | None, out: Path
) -> dict[str, Any]:
    """The arguments that both trainers take."""
    return {
        "model": load_trainable(recipe, model, adapter),
        "train_dataset": question_dataset(examples, load_template(recipe.template), recipe.shown_pixels),
        "processing_class": left_padding_processor(recipe, model),
        "share_questions": recipe.share_questions,
        "callbacks": [Log(out, "calibrate")],
    }


def _finish(
    trainer: Any,
    recipe: Recipe,
    examples: Sequence[TrainingExample],
    held_out: Sequence[TrainingExample],
    model: str,
    out: Path,
) -> None:
    question = trained_question(recipe, [example.sample for example in (*examples, *held_out)])
    processor = load_processor(model, recipe.max_pixels, recipe.thinking)
    trainer.add_callback(HeldOutCallback(trainer, recipe, held_out, question, processor, out))
    finish(trainer, out, result_name(recipe), question)


def segment_rewards(recipe: Recipe) -> list[Callable[..., list[float | None]]]:
    """Two TRL reward functions that sum to the recipe's reward: the label's correctness, and the remaining score.

    A malformed answer has a correctness of 0. Raises UserError for an unknown reward.
    """
    reward = reward_of(recipe)

    def correctness(completions: list[Any], **columns: Any) -> list[float | None]:
        rows = completions_of(completions, columns)
        readings = [stated(reading.text, reading.candidates) for reading in rows]
        right = correctness_of(
            rows, [None if reading is None else reading[0] for reading in readings], recipe.correctness
        )
        return [0.0 if reading is None else share for reading, share in zip(readings, right, strict=True)]

    def score(completions: list[Any], **columns: Any) -> list[float | None]:
        paid = rewards_of(reward, completions_of(completions, columns), recipe.correctness)
        right = correctness(completions, **columns)
        return [reading - (share or 0.0) for reading, share in zip(paid, right, strict=True)]

    return [correctness, score]


def confidence_tokens(tokens: Sequence[str], opening: str, closing: str) -> list[bool]:
    """Which of an answer's tokens, given as texts, overlap its last `opening`...`closing`.

    All of them where there is none: a malformed answer is a single segment, which learns from the score. An opening tag
    that is never closed extends to the end.
    """
    text = "".join(tokens)
    start = text.rfind(opening)
    if start < 0:
        return [True] * len(tokens)
    closed = text.find(closing, start)
    end = len(text) if closed < 0 else closed + len(closing)
    within, offset = [], 0
    for token in tokens:
        within.append(offset < end and offset + len(token) > start)
        offset += len(token)
    return within


class SegmentTrainer(SharingGRPOTrainer):
    """GRPO in which each of the two rewards of `segment_rewards` trains its own tokens; `tags` delimit the confidence.
    Advantages are not divided by a standard deviation."""

    def __init__(self, *arguments: Any, tags: tuple[str, str], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.tags = tags

    def _calculate_rewards(self, *arguments: Any) -> torch.Tensor:
        """The rewards of all processes [n, 2], stored for the segments' advantages."""
        earned: torch.Tensor = super()._calculate_rewards(*arguments)
        self._earned = earned
        return earned

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        groups = self._earned.view(-1, int(self.num_generations or 1), 2)
        advantages = (groups - groups.mean(1, keepdim=True)).view(-1, 2)
        rows = len(batch["completion_ids"])
        of_rows = advantages[self.accelerator.process_index * rows :][:rows]
        confidence = self._confidence_mask(batch["completion_ids"])
        batch["advantages"] = torch.where(confidence, of_rows[:, 1:], of_rows[:, :1])
        return batch

    def _confidence_mask(self, ids: torch.Tensor) -> torch.Tensor:
        processor: Any = self.processing_class
        rows = [confidence_tokens(processor.tokenizer.batch_decode(row[:, None]), *self.tags) for row in ids]
        return torch.tensor(rows, device=ids.device)
