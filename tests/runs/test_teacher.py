"""What a stage learns from is what its recipe names, and its targets are what the model did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import load_template
from emocaliber.generation.journal import Journal
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.models.location import TINY_ADAPTER, embedded_base
from emocaliber.runs.recipes import read_recipe
from emocaliber.runs.resume import samples_of
from emocaliber.runs.teacher import EngineTeacher
from emocaliber.runs.train import train
from emocaliber.stages.calibrate.stage import held_out_split
from emocaliber.stages.targets import answer_examples, label_examples, temperatures_of
from emocaliber.stages.teacher import DRAWS, agreement

RECIPES = Path(__file__).parents[2] / "recipes" / "tiny"


def test_a_split_may_be_that_of_one_task_alone() -> None:
    chosen = samples_of(["kaomoji", "emoji"], ["unlabelled", "emoji:train"])
    assert {(s.task, s.split) for s in chosen} == {("kaomoji", "unlabelled"), ("emoji", "train")}


def test_a_split_that_nobody_has_is_refused() -> None:
    with pytest.raises(UserError, match="no row belongs to emoji:unlabelled"):
        samples_of(["emoji"], ["emoji:unlabelled"])


def test_stage_1_learns_from_votes_where_there_are_any_and_from_the_label_elsewhere() -> None:
    samples = [*samples_of(["kaomoji"], ["train"])[:3], *samples_of(["emoji"], ["train"])[:3]]
    examples = {example.sample.id: example for example in label_examples(samples, load_template("label"), votes=True)}
    assert examples.keys() == {sample.id for sample in samples}
    for sample in samples:
        target = examples[sample.id].label_target
        assert target == (
            sample.votes and tuple(sample.votes.get(c, 0) / sum(sample.votes.values()) for c in sample.candidates)
        )
    assert {example.label_target for example in label_examples(samples, load_template("label"))} == {None}
    with pytest.raises(UserError, match="no row has rater votes"):
        label_examples(samples[:3], load_template("label"), votes=True)


@pytest.mark.slow
def test_agreement_is_a_share_of_the_draws_and_the_seed_fixes_it() -> None:
    samples = samples_of(["kaomoji"], ["calibrate"])[:6]

    def drawn() -> tuple[list[np.ndarray], np.ndarray]:
        engine = TransformersEngine(embedded_base(), batch_size=6, max_new_tokens=8, temperature=1.0, seed=3)
        believed = agreement(samples, EngineTeacher(engine))
        return believed.beliefs, believed.confidences

    beliefs, shares = drawn()
    assert np.allclose([belief.sum() for belief in beliefs], 1.0)
    assert np.array_equal(shares * DRAWS, np.round(shares * DRAWS))
    assert ((shares >= 0) & (shares <= 1)).all()
    assert np.array_equal(drawn()[1], shares)


@pytest.mark.slow
def test_what_was_asked_is_not_asked_again_and_is_the_same_to_the_last_digit(tmp_path: Path) -> None:
    samples = samples_of(["kaomoji", "emoji"], ["calibrate"])[:40]
    engine = TransformersEngine(embedded_base(), adapter=TINY_ADAPTER, batch_size=24, max_new_tokens=12)
    template = load_template("label-confidence")
    with Journal(tmp_path / "asked.jsonl") as journal:
        teacher = EngineTeacher(engine, journal)
        beliefs = teacher.label_probabilities(samples)
        examples = answer_examples(samples, teacher.answers(samples, template), template, 0.01)
        assert journal.added == 2 * len(samples)
    with Journal(tmp_path / "asked.jsonl") as journal:
        teacher = EngineTeacher(engine, journal)
        again = teacher.label_probabilities(samples)
        assert answer_examples(samples, teacher.answers(samples, template), template, 0.01) == examples
        assert journal.added == 0
    for belief, other, alone in zip(beliefs, again, EngineTeacher(engine).label_probabilities(samples), strict=True):
        assert np.array_equal(belief, other)
        assert np.array_equal(belief, alone)


def test_a_task_without_a_label_is_refused_by_name() -> None:
    bare = [replace(s, label=None) for s in samples_of(["emoji"], ["calibrate"])[:3]]
    with pytest.raises(UserError, match="task emoji: no calibration row has a label"):
        temperatures_of(bare, [np.full(8, 1 / 8)] * 3)


@pytest.mark.slow
def test_an_answer_to_an_unlabelled_picture_is_as_right_as_it_is_believed_and_never_held_out() -> None:
    labelled = samples_of(["kaomoji"], ["calibrate"])[:24]
    bare = [replace(s, id=f"{s.id}-bare", cluster=f"{s.cluster}-bare", label=None) for s in labelled]
    engine = TransformersEngine(embedded_base(), adapter=TINY_ADAPTER, batch_size=24, max_new_tokens=12)
    template, both = load_template("label-confidence"), [*labelled, *bare]
    examples = answer_examples(both, EngineTeacher(engine).answers(both, template), template, spread=0.01)
    known, unknown = examples[: len(examples) // 2], examples[len(examples) // 2 :]
    assert {example.correct for example in known} <= {0.0, 1.0}
    assert all(example.correct is not None and 0 < example.correct < 1 for example in unknown)
    assert [example.level_target for example in known] == [example.level_target for example in unknown]
    _, held = held_out_split(examples, [*labelled, *bare], 0.5, 0)
    assert held
    assert all(example.sample.label is not None for example in held)


@pytest.mark.parametrize("method", ["grpo", "rloo", "dpo", "kto"])
def test_a_method_that_pays_for_right_answers_refuses_rows_without_a_label(method: str, tmp_path: Path) -> None:
    changes = ["data=[kaomoji]", "splits=[calibrate,unlabelled]"]
    recipe = replace(read_recipe(RECIPES / "3-calibrate.yaml", changes), method=method)
    with pytest.raises(UserError, match=rf"splits: .* has no label, and method {method} .*splits=\[calibrate\]"):
        train(recipe, TINY_ADAPTER, tmp_path / "out")
    assert not (tmp_path / "out" / "adapter").exists()
