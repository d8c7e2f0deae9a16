"""Training examples: a sample with the answer to learn, what a TRL trainer sees of it, and how long it is in tokens.

Pictures stay encoded until a batch needs them, and are opened by `emocaliber.core.images` alone.

    examples = [TrainingExample(sample, template.write(label=sample.label)) for sample in samples]
    SFTTrainer(train_dataset=as_dataset(examples, template), ...)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from datasets import Dataset
from transformers.trainer_pt_utils import LengthGroupedSampler, get_length_grouped_indices

from emocaliber.core.errors import UserError
from emocaliber.core.images import SHOWN_PIXELS, load_image
from emocaliber.core.prompting import Template, load_template, messages
from emocaliber.core.samples import Sample
from emocaliber.data import sample_table
from emocaliber.models.location import Question, question_of
from emocaliber.stages.recipe import Recipe


@dataclass(frozen=True, slots=True)
class TrainingExample:
    """One sample with the answer to learn.

    `label_target` gives a probability per candidate and `level_target` one per confidence level, where the answer is
    not simply the text: soft targets. `correct` says whether the label in `completion` is right, where that is learned.
    """

    sample: Sample
    completion: str
    label_target: tuple[float, ...] | None = None
    level_target: tuple[float, ...] | None = None
    correct: float | None = None


class Examples(Sequence[TrainingExample]):
    """Examples that are made of their samples when they are read: of a million rows there is not one of each."""

    def __init__(self, samples: Sequence[Sample], make: Callable[[Sample], TrainingExample]) -> None:
        self.samples, self._make = samples, make

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Examples(self.samples[place], self._make)
        return self._make(self.samples[place])

    def __iter__(self) -> Iterator[TrainingExample]:
        return map(self._make, self.samples)


def samples_behind(examples: Sequence[TrainingExample]) -> Sequence[Sample]:
    """The examples' samples."""
    return examples.samples if isinstance(examples, Examples) else [example.sample for example in examples]


def in_splits(rows: Sequence[Sample], splits: Sequence[str], data: Sequence[str]) -> Sequence[Sample]:
    """The rows of the splits, in their order; "emoji:train" is that split of one task. Raises UserError, naming the
    data that they were read from, where there is none."""
    chosen = sample_table.in_splits(rows, splits)
    if not len(chosen):
        raise UserError(f"{', '.join(data)}: no row belongs to {', '.join(splits)}; check the keys 'data' and 'splits'")
    return chosen


def learns_rationales(recipe: Recipe) -> bool:
    """Whether the rows' rationales are learned: by stage 1, and by stage 2 from votes, which asks no teacher whose own
    reasoning it could learn from."""
    stage_learns = recipe.stage == "label" or (recipe.stage == "verbalize" and recipe.target == "votes")
    return stage_learns and load_template(recipe.template).reasons


def refuse_without_rationale(recipe: Recipe, samples: Sequence[Sample]) -> None:
    """Raises UserError, naming file and row, where rationales are to be learned and a row has none."""
    if not learns_rationales(recipe):
        return
    if (place := sample_table.first_without_rationale(samples)) is not None:
        raise UserError(
            f"{place}: rationale: it has none, and {recipe.path} learns to reason (template: {recipe.template}); give"
            " every row one, leave such rows out (drop_problems=true), or learn the answer alone (template=label)"
        )


def as_dataset(examples: Sequence[TrainingExample], template: Template, max_pixels: int = SHOWN_PIXELS) -> Dataset:
    """A dataset whose rows are made when they are read: prompt, completion, images, and the example's targets."""

    def rows(batch: dict[str, list[int]]) -> dict[str, list[Any]]:
        chosen = [examples[i] for i in batch["example"]]
        return {
            "prompt": [
                messages(template.render(example.sample.candidates, question=example.sample.question))
                for example in chosen
            ],
            "completion": [[{"role": "assistant", "content": example.completion}] for example in chosen],
            "images": [[load_image(example.sample.image, max_pixels)] for example in chosen],
            "example": chosen,
        }

    return made_when_read("example", range(len(examples)), rows)


def made_when_read(
    name: str, numbers: Sequence[int], rows: Callable[[dict[str, list[int]]], dict[str, list[Any]]]
) -> Dataset:
    """A dataset of numbers in the column `name`, of which `rows` makes what is read."""
    dataset = Dataset.from_dict({name: list(numbers)})
    # with_transform pickles `rows` and all that it holds for a fingerprint of a cache that there is not: at 22,000
    # samples that took longer than all else before the first step.
    Dataset.set_format.__wrapped__(dataset, "custom", transform=rows)
    return dataset


def trained_question(recipe: Recipe, samples: Sequence[Sample]) -> Question:
    """What a model that learns from these samples is trained to be asked: stored beside its weights."""
    tasks: dict[str, tuple[str, ...]] = {}
    for task, candidates in sample_table.questions(samples):
        labels = tasks.get(task, ())
        tasks[task] = labels + tuple(label for label in candidates if label not in labels)
    template = load_template(recipe.template)
    return question_of(
        tasks,
        template,
        max_pixels=recipe.max_pixels,
        stage=recipe.stage,
        base=recipe.model,
        thinking=recipe.thinking,
    )


def token_lengths(
    examples: Sequence[TrainingExample], template: Template, processor: Any, max_pixels: int = SHOWN_PIXELS
) -> list[int]:
    """The tokens of each example's question and answer, as the processor makes them of pictures and texts.

    For families whose batches cannot be packed (see fast.packing): TRL's key `train_sampling_strategy: group_by_length`
    knows the lengths of texts alone. A picture's tokens depend on its size: each size is tried once with each question.
    """
    questions: dict[tuple[tuple[int, int], str], int] = {}

    @lru_cache(maxsize=65536)
    def answer_tokens(answer: str) -> int:
        return len(processor.tokenizer(answer, add_special_tokens=False)["input_ids"])

    lengths = []
    for example in examples:
        picture = load_image(example.sample.image, max_pixels)
        question = template.render(example.sample.candidates, question=example.sample.question)
        if (picture.size, question) not in questions:
            text = processor.apply_chat_template(messages(question), tokenize=False, add_generation_prompt=True)
            encoded = processor(text=[text], images=[[picture]])
            questions[picture.size, question] = len(encoded["input_ids"][0])
        lengths.append(questions[picture.size, question] + answer_tokens(example.completion))
    return lengths


class GroupedByLength(LengthGroupedSampler):
    """The transformers library's groups of like lengths, drawn anew for each epoch from `seed` and the epoch, so that a
    stopped run finds its place."""

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
