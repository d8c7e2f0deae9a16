"""Lessons: what a trainer sees of a sample, as TRL's prompt, completion and images, decoded when it is asked for.

Not a dataset on disk: pictures stay encoded until a batch needs them, and are opened by `emocaliber.core.images` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from datasets import Dataset

from emocaliber.core.images import load_image
from emocaliber.core.prompting import Template, messages
from emocaliber.core.samples import Sample


@dataclass(frozen=True)
class Lesson:
    """One sample with the answer to learn.

    `label_target` gives a probability per candidate and `level_target` one per confidence level, where the answer is
    not simply the text: soft targets. `correct` says whether the label in `completion` is right, where that is learned.
    """

    sample: Sample
    completion: str
    label_target: tuple[float, ...] | None = None
    level_target: tuple[float, ...] | None = None
    correct: float | None = None


def as_dataset(lessons: Sequence[Lesson], template: Template) -> Dataset:
    """A dataset whose rows are made when they are read: prompt, completion, images, and the lesson's targets."""

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [lessons[i] for i in batch["lesson"]]
        return {
            "prompt": [messages(template.render(one.sample.candidates)) for one in chosen],
            "completion": [[{"role": "assistant", "content": one.completion}] for one in chosen],
            "images": [[load_image(one.sample.image)] for one in chosen],
            "lesson": chosen,
        }

    return Dataset.from_dict({"lesson": list(range(len(lessons)))}).with_transform(rows)
