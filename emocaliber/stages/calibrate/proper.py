"""Stage 3 by a proper loss: the model's own answers in context, whether they were right, a proper score of its levels.

Not reinforcement learning: nothing is sampled, so a step costs one forward and one backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from emocaliber.core.prompting import load_template
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.calibrate.held_out import HeldOut, Watch
from emocaliber.stages.calibrate.objectives import OBJECTIVES, anchored
from emocaliber.stages.conversations import Lesson, as_dataset
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.soft_targets import SoftTargetCollator
from emocaliber.stages.supervised import train_supervised
from emocaliber.stages.training import load_processor


def calibrate_by_proper_loss(
    recipe: Recipe, lessons: Sequence[Lesson], held_out: Sequence[Lesson], model: str, adapter: Path | None, out: Path
) -> None:
    """Train on `lessons`, select on `held_out`, leave the best adapter in `out/best` and the last in `out/adapter`."""
    watch = watch_of(recipe, held_out, model, out)
    train_supervised(
        recipe,
        lessons,
        model,
        adapter,
        out,
        title="calibrate",
        level_loss=anchored(recipe.anchor, OBJECTIVES[recipe.objective]),
        callbacks=[HeldOut(watch)],
        beside=[watch.collator],
    )


def watch_of(recipe: Recipe, held_out: Sequence[Lesson], model: str, out: Path) -> Watch:
    """The held-out slice, encoded once."""
    processor = load_processor(model, recipe.max_pixels)
    template = load_template(recipe.template)
    inner = DataCollatorForVisionLanguageModeling(processor, max_length=None, completion_only_loss=True)
    dataset = as_dataset(held_out, template)
    return Watch(
        lessons=held_out,
        rows=[dataset[i] for i in range(len(dataset))],
        collator=SoftTargetCollator(inner, AnswerPaths(processor, template)),
        every=int(recipe.trainer.get("save_steps", 20)),
        batch_size=recipe.ask_batch_size,
        out=out,
    )
