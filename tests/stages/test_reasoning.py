"""Reasoning stands before the answer, weighs as one token, and what is scored after it is scored given it."""

from __future__ import annotations

import math
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import LEVELS, Template, load_template
from emocaliber.core.samples import Sample
from emocaliber.models.location import question_of, write_question
from emocaliber.reading import read_response
from emocaliber.runs.recipes import read_recipe
from emocaliber.runs.teacher import question_to_ask
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.calibrate.greedy import AnswerReader, greedy_answers
from emocaliber.stages.examples import TrainingExample, as_dataset
from emocaliber.stages.fast.packing import use_packing
from emocaliber.stages.recipe import Recipe
from emocaliber.stages.soft_targets import SoftTargetCollator
from emocaliber.stages.targets import answer_examples, label_examples, spread_over_levels, vote_examples
from emocaliber.stages.teacher import DRAWS, Answer, agreement
from emocaliber.stages.verbalize import belief_examples
from tests.runs.reasoned import CONFIDENCE, LABEL
from tests.stages.families import qwen25_vl, smolvlm
from tests.stages.fast.test_packing import loss_and_gradients, trainer_of

THINK, THINK_LABEL = Template("think", **CONFIDENCE), Template("think-label", **LABEL)
LABELS = ("happy", "sad", "angry")
WORDS = ["Rain", "on", "an", "empty", "street;", "nobody", "there."]


def picture(side: int) -> bytes:
    stream = BytesIO()
    Image.new("RGB", (side, 28), (side, 90, 0)).save(stream, "PNG")
    return stream.getvalue()


def sample(n: int = 0, **changes: Any) -> Sample:
    made = Sample(f"{n}", picture(28 * (1 + n % 3)), "t", LABELS, LABELS[n % 3], "train", "", f"{n}")
    return replace(made, **({"rationale": " ".join(WORDS[: 1 + 2 * (n % 3)])} | changes))


def examples(count: int) -> list[TrainingExample]:
    """Reasonings of many lengths, with soft targets."""
    return [
        TrainingExample(
            each,
            THINK.write(label=str(each.label), confidence=LEVELS[(7 * n + 17) % 21], reasoning=each.rationale),
            (0.5, 0.3, 0.2),
            spread_over_levels(0.6, 0.05),
            correct=float(n % 2),
        )
        for n, each in enumerate(map(sample, range(count)))
    ]


@pytest.mark.parametrize("build", [qwen25_vl, smolvlm])
def test_the_reasoning_weighs_as_much_as_one_token_whatever_its_length(build: Any) -> None:
    processor = build()[1]
    paths, taught = AnswerPaths(processor, THINK), examples(3)
    inner = DataCollatorForVisionLanguageModeling(processor, max_length=None, completion_only_loss=True)
    batch = SoftTargetCollator(inner, paths)([as_dataset(taught, THINK)[n] for n in range(3)])
    for n, example in enumerate(taught):
        tokens, reasoning = paths.tokens(example.completion), paths.reasoning(example.completion)
        written = processor.tokenizer.decode(tokens[reasoning.start : reasoning.stop])
        assert example.sample.rationale in written
        assert len(written) <= len(str(example.sample.rationale)) + 3, "a token may reach over a tag's first signs"
        start = int((batch["labels"][n, 1:] != -100).int().argmax())
        weights = batch["token_weights"][n]
        assert float(weights[start + reasoning.start : start + reasoning.stop].sum()) == pytest.approx(1)
        outside = {*range(len(tokens))} - {*reasoning}
        assert {float(weights[start + position]) for position in outside} == {0.0, 1.0}
    assert AnswerPaths(processor, load_template("label")).reasoning("<answer>sad</answer>") == range(0)
    with pytest.raises(UserError, match=r"has no <think>...</think>"):
        paths.reasoning("<answer>sad</answer><confidence>0.50</confidence>")


@pytest.mark.parametrize("family", ["qwen2.5-vl", "smolvlm"])
def test_packed_reasonings_of_many_lengths_have_the_loss_and_gradients_of_padded_ones(
    family: str, tmp_path: Path
) -> None:
    taught = examples(5)
    padding, trainer = (trainer_of(family, tmp_path, taught, template=THINK) for _ in range(2))
    use_packing(trainer.model)
    trainer.packing = True
    batch = trainer.data_collator([as_dataset(taught, THINK)[n] for n in range(5)])
    wanted, gradients = loss_and_gradients(padding, batch)
    loss, packed = loss_and_gradients(trainer, batch)
    assert loss == pytest.approx(wanted, rel=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(packed[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_what_greedy_decoding_states_after_a_reasoning_does_not_depend_on_the_rows_beside_it() -> None:
    torch.manual_seed(1)
    model, processor = qwen25_vl()
    reader = AnswerReader(processor, AnswerPaths(processor, THINK))
    rows = [as_dataset(examples(4), THINK)[n] for n in range(4)]
    together = greedy_answers(model.eval(), rows, reader)
    assert together == [greedy_answers(model, [row], reader)[0] for row in rows]


@pytest.mark.parametrize("votes", [False, True])
def test_a_given_rationale_is_learned_before_the_label_and_the_votes(votes: bool) -> None:
    taught = [sample(n, votes={"happy": 3, "sad": 1} if votes else None) for n in range(3)]
    for example in label_examples(taught, THINK_LABEL, votes=votes):
        label = read_response(example.completion, LABELS).label
        assert example.completion == f"<think>{example.sample.rationale}</think><answer>{label}</answer>"
        assert label == example.sample.label
    if votes:
        stated = vote_examples(taught, THINK, 0.05)[0]
        assert stated.completion.startswith(f"<think>{taught[0].rationale}</think><answer>happy</answer><conf")


class Thinking:
    """A teacher whose draws each reason in their own way; of one picture none can be read."""

    question = THINK_LABEL

    def answers(self, samples: list[Sample], template: Template, draw: int = 0) -> list[Answer]:
        assert template is THINK_LABEL
        said = Answer(LABELS[draw % 3 % 2], None, np.array([0.9, 0.1, 0.0]), f"draw {draw}")
        cut = Answer("sad", None, None, None)
        return [cut if each.id == "1" else said for each in samples]


def test_agreement_over_reasonings_keeps_one_that_leads_to_the_favourite_and_leaves_out_what_cannot_be_read() -> None:
    recipe = Recipe(Path("r.yaml"), "verbalize", ("d",), ("s",), "think", target="agreement")
    asked = [sample(0), sample(1), sample(2)]
    believed = agreement(asked, Thinking())  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("emocaliber.stages.verbalize.load_template", lambda name: THINK)
        taught = belief_examples(recipe, asked, believed)
    happy = sum(draw % 3 % 2 == 0 for draw in range(DRAWS))
    assert [example.sample.id for example in taught] == ["0", "2"]
    for example in taught:
        confidence = read_response(example.completion, LABELS).confidence
        assert example.completion.startswith("<think>draw 0</think><answer>happy</answer>")
        assert confidence == pytest.approx(happy / DRAWS, abs=0.026)
        assert example.label_target == (1.0, 0.0, 0.0), "after that reasoning, the label is not in doubt"


def test_stage_3_learns_from_the_models_own_reasoning_and_not_from_answers_without_it() -> None:
    belief = np.array([0.2, 0.7, 0.1])
    answers = [Answer("sad", 0.7, belief, "Rain."), Answer("sad", 0.7, belief, None)]
    [example] = answer_examples([sample(0), sample(1)], answers, THINK, 0.05)
    assert example.completion == "<think>Rain.</think><answer>sad</answer><confidence>0.70</confidence>"
    with pytest.raises(UserError, match="raise max_answer_tokens"):
        answer_examples([sample(1)], answers[1:], THINK, 0.05)


def test_a_teacher_is_asked_the_question_by_which_it_learned_to_reason(tmp_path: Path) -> None:
    recipe = Recipe(Path("r.yaml"), "verbalize", ("d",), ("s",), "reasoning", model="owner/model")
    assert question_to_ask(recipe, None) == load_template("reasoning")
    write_question(tmp_path, question_of({"t": LABELS}, THINK_LABEL, max_pixels=None, stage="label", base="tiny"))
    assert question_to_ask(recipe, tmp_path) == THINK_LABEL
    plain = load_template("label")
    write_question(tmp_path, question_of({"t": LABELS}, plain, max_pixels=None, stage="label", base="tiny"))
    with pytest.raises(UserError, match=r"r\.yaml: template: .*taught to answer at once \(label\).*reasoning-label"):
        question_to_ask(recipe, tmp_path)
    assert question_to_ask(replace(recipe, template="label-confidence"), tmp_path) == plain


PAPER = Path(__file__).parents[2] / "recipes" / "emocaliber-paper"


@pytest.mark.parametrize(
    ("recipe", "override", "sentence"),
    [
        ("1-label", "template=reasoning", "stage label learns no confidence"),
        ("2-verbalize", "target=degraded", "target: degraded asks for answers without reasoning"),
        ("2-verbalize", "target=signals", "target: signals asks for answers without reasoning"),
        ("2-verbalize", "max_answer_tokens=null", "max_answer_tokens: the model that is asked reasons"),
        ("3-calibrate-grpo", "max_answer_tokens=null", "max_answer_tokens: the model that is asked reasons"),
    ],
)
def test_what_a_stage_cannot_do_with_reasoning_is_refused_by_its_key(recipe: str, override: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read_recipe(PAPER / f"{recipe}.yaml", [override])


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("<answer>{label}</answer><think>{reasoning}</think>", "must begin with its reasoning in tags"),
        ("{reasoning} <answer>{label}</answer>", "must begin with its reasoning in tags"),
        ('{{"why": "{reasoning}", "label": "{label}"}}', "must begin with its reasoning in tags"),
        ("<think>{reasoning}</think><distribution>{distribution}</distribution>", "reasoning before a distribution"),
    ],
)
def test_a_template_that_does_not_reason_first_is_refused(answer: str, sentence: str, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(f"prompt: 'Which of {{candidates}}?'\nanswer: '{answer}'\n")
    with pytest.raises(UserError, match=sentence):
        read_recipe(PAPER / "1-label.yaml", [f"template={own}"])


def test_the_weights_do_not_touch_answers_without_reasoning() -> None:
    processor = qwen25_vl()[1]
    plain = load_template("label")
    inner = DataCollatorForVisionLanguageModeling(processor, max_length=None, completion_only_loss=True)
    taught = [TrainingExample(sample(0), plain.write(label="sad"))]
    batch = SoftTargetCollator(inner, AnswerPaths(processor, plain))([as_dataset(taught, plain)[0]])
    assert torch.equal(batch["token_weights"], (batch["labels"][:, 1:] != -100).float())
    assert math.isclose(float(batch["token_weights"].sum()), float((batch["labels"][:, 1:] != -100).sum()))
