"""How long each lesson is in tokens, its picture's counted, so that a batch can be made of rows that are alike.

For families whose batches cannot be packed (see packing): TRL's key `train_sampling_strategy: group_by_length` knows
the lengths of texts alone. The order of an epoch depends on seed and epoch, so that a stopped run finds its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import torch
from transformers.trainer_pt_utils import LengthGroupedSampler, get_length_grouped_indices

from emocaliber.core.images import load_image
from emocaliber.core.prompting import Template, messages
from emocaliber.stages.conversations import Lesson


def token_lengths(lessons: Sequence[Lesson], template: Template, processor: Any) -> list[int]:
    """The tokens of each lesson's question and answer, as the processor makes them of pictures and texts.

    A picture's tokens depend on its size alone: each size is tried once with each question.
    """
    asked: dict[tuple[tuple[int, int], str], int] = {}

    @lru_cache(maxsize=65536)
    def said(answer: str) -> int:
        return len(processor.tokenizer(answer, add_special_tokens=False)["input_ids"])

    lengths = []
    for one in lessons:
        picture, question = load_image(one.sample.image), template.render(one.sample.candidates)
        if (picture.size, question) not in asked:
            text = processor.apply_chat_template(messages(question), tokenize=False, add_generation_prompt=True)
            found = processor(text=[text], images=[[picture]])
            asked[picture.size, question] = len(found["input_ids"][0])
        lengths.append(asked[picture.size, question] + said(one.completion))
    return lengths


class GroupedByLength(LengthGroupedSampler):
    """The transformers library's groups of like lengths, drawn anew for each epoch from `seed`."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths)
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """The rows' numbers, the longest first."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order: list[int] = get_length_grouped_indices(  # type: ignore[no-untyped-call]
            self.lengths, self.batch_size, generator=generator
        )
        return iter(order)
