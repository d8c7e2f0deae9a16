"""Rows of like length stand together, their pictures' tokens counted, in an order that seed and epoch fix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from emocaliber.core.prompting import load_template
from emocaliber.stages.examples import GroupedByLength, as_dataset, lazy_dataset, token_lengths
from tests.stages.families import FAMILIES
from tests.stages.fast.test_packing import examples, trainer_of


@pytest.mark.parametrize("family", FAMILIES)
def test_lengths_are_those_of_the_collated_rows_but_for_what_closes_each(family: str) -> None:
    _, processor = FAMILIES[family]()
    template, taught = load_template("label-confidence"), examples(np.random.default_rng(2), 12)
    collator = DataCollatorForVisionLanguageModeling(processor, max_length=None, completion_only_loss=True)
    rows = [{key: value for key, value in row.items() if key != "example"} for row in as_dataset(taught, template)]
    wanted = collator(rows)["attention_mask"].sum(1).numpy()
    closing = wanted - np.array(token_lengths(taught, template, processor))
    assert len(set(wanted.tolist())) > 3
    assert closing.max() - closing.min() <= 1  # a mark may be one token with what follows it
    assert 0 <= closing.min() <= closing.max() <= 12  # Qwen3.5's template puts an empty thought before the answer


def padding(order: Sequence[int], lengths: Sequence[int], rows: int) -> int:
    batches = [[lengths[n] for n in order[start : start + rows]] for start in range(0, len(order), rows)]
    return sum(max(batch) * len(batch) - sum(batch) for batch in batches)


def test_batches_of_like_length_pad_little_and_an_epoch_can_be_drawn_again() -> None:
    lengths = np.random.default_rng(0).integers(40, 400, 600).tolist()
    sampler = GroupedByLength(8, lengths, seed=3)
    first = list(sampler)
    assert sorted(first) == list(range(600))
    assert padding(first, lengths, 8) < padding(range(600), lengths, 8) / 5
    sampler.set_epoch(1)
    second = list(sampler)
    again = GroupedByLength(8, lengths, seed=3)
    again.set_epoch(1)
    assert list(again) == second != first


def test_a_trainer_that_knows_lengths_groups_by_them(tmp_path: Path) -> None:
    trainer = trainer_of("qwen2.5-vl", tmp_path, examples(np.random.default_rng(2), 4))
    assert not isinstance(trainer._get_train_sampler(), GroupedByLength)
    trainer.lengths = [5, 9, 5, 9]
    sampler = trainer.get_train_dataloader().batch_sampler.sampler
    assert isinstance(sampler, GroupedByLength)
    assert sampler.batch_size == trainer.args.train_batch_size


class Pickled:
    times = 0

    def __reduce__(self) -> tuple[type, tuple[()]]:
        Pickled.times += 1
        return Pickled, ()


def test_no_sample_is_pickled_to_make_a_dataset_of_them():
    samples = [Pickled(), Pickled()]
    dataset = lazy_dataset("example", range(2), lambda batch: {"kind": [type(samples[i]) for i in batch["example"]]})
    assert dataset[1:2]["kind"] == [Pickled]
    assert Pickled.times == 0
