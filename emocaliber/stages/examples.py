"""Training examples: a sample with the answer to learn, as a dataset for TRL's trainers, with lengths in tokens.

Pictures stay encoded until a batch needs them, and are opened by `emocaliber.core.images` only.

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

    Soft targets, None where `completion` is learned as it stands: `label_target`, a probability for each candidate, and
    `level_target`, one for each confidence level. `correct`, in [0, 1], is the correctness of the label in
    `completion`, where the loss needs it.
    """

    sample: Sample
    completion: str
    label_target: tuple[float, ...] | None = None
    level_target: tuple[float, ...] | None = None
    correct: float | None = None


class Examples(Sequence[TrainingExample]):
    """Lazy examples, each made from its sample when it is read, so that a million rows fit in memory."""

    def __init__(self, samples: Sequence[Sample], make: Callable[[Sample], TrainingExample]) -> None:
        self.samples, self._make = samples, make

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return Examples(self.samples[index], self._make)
        return self._make(self.samples[index])

    def __iter__(self) -> Iterator[TrainingExample]:
        return map(self._make, self.samples)


def samples_of(examples: Sequence[TrainingExample]) -> Sequence[Sample]:
    """The examples' samples."""
    return examples.samples if isinstance(examples, Examples) else [example.sample for example in examples]


def in_splits(rows: Sequence[Sample], splits: Sequence[str], data: Sequence[str]) -> Sequence[Sample]:
    """The rows of the splits, in their order; "emoji:train" is that split of one task. Raises UserError naming `data`,
    where the rows were read from, if there are none."""
    chosen = sample_table.in_splits(rows, splits)
    if not len(chosen):
        raise UserError(f"{', '.join(data)}: no row belongs to {', '.join(splits)}; check the keys 'data' and 'splits'")
    return chosen


def learns_rationales(recipe: Recipe) -> bool:
    """Whether the stage learns the rows' rationales: stage 1 does, and so does stage 2 from votes, since without a
    teacher there is no reasoning of the model's own to learn from."""
    stage_learns = recipe.stage == "label" or (recipe.stage == "verbalize" and recipe.target == "votes")
    return stage_learns and load_template(recipe.template).reasons


def refuse_without_rationale(recipe: Recipe, samples: Sequence[Sample]) -> None:
    """Raises UserError naming file and row where rationales are to be learned and a row has none."""
    if not learns_rationales(recipe):
        return
    if (row := sample_table.first_without_rationale(samples)) is not None:
        raise UserError(
            f"{row}: rationale: it has none, and {recipe.path} learns to reason (template: {recipe.template}); give"
            " every row one, leave such rows out (drop_problems=true), or learn the answer alone (template=label)"
        )


def as_dataset(examples: Sequence[TrainingExample], template: Template, max_pixels: int = SHOWN_PIXELS) -> Dataset:
    """A lazy dataset with the columns prompt, completion, images, and example (with the soft targets)."""

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

    return lazy_dataset("example", range(len(examples)), rows)


def lazy_dataset(
    name: str, numbers: Sequence[int], rows: Callable[[dict[str, list[int]]], dict[str, list[Any]]]
) -> Dataset:
    """A dataset that stores numbers in the column `name` and makes each batch's columns of them by `rows`."""
    dataset = Dataset.from_dict({name: list(numbers)})
    # with_transform would pickle `rows` and everything that it refers to for the fingerprint of an unused cache: with
    # 22,000 samples that took longer than everything else before the first step.
    Dataset.set_format.__wrapped__(dataset, "custom", transform=rows)
    return dataset


def trained_question(recipe: Recipe, samples: Sequence[Sample]) -> Question:
    """The question that a model trained on these samples expects: template and labels, stored beside its weights."""
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
    """The number of tokens of each example's question, picture included, and answer.

    For `train_sampling_strategy: group_by_length`, where batches cannot be packed (see fast.packing): TRL's own lengths
    ignore pictures. A picture's tokens depend only on its size, so each size is encoded once with each question.
    """
    question_lengths: dict[tuple[tuple[int, int], str], int] = {}

    @lru_cache(maxsize=65536)
    def answer_tokens(answer: str) -> int:
        return len(processor.tokenizer(answer, add_special_tokens=False)["input_ids"])

    lengths = []
    for example in examples:
        picture = load_image(example.sample.image, max_pixels)
        question = template.render(example.sample.candidates, question=example.sample.question)
        if (picture.size, question) not in question_lengths:
            text = processor.apply_chat_template(messages(question), tokenize=False, add_generation_prompt=True)
            encoded = processor(text=[text], images=[[picture]])
            question_lengths[picture.size, question] = len(encoded["input_ids"][0])
        lengths.append(question_lengths[picture.size, question] + answer_tokens(example.completion))
    return lengths


class GroupedByLength(LengthGroupedSampler):
    """transformers' sampler of batches of similar length, seeded by `seed` and the epoch so that a resumed run sees the
    same order."""

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths)
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        """The row numbers, the longest row first."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order: list[int] = get_length_grouped_indices(  # type: ignore[no-untyped-call]
            self.lengths, self.batch_size, generator=generator
        )
        return iter(order)
