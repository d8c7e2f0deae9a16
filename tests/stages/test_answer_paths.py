"""Options of several tokens are told apart where, and only where, the written answer's tokens show it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoProcessor
from trl.data_utils import apply_chat_template
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import LEVEL_TEXTS, load_template, messages
from emocaliber.core.samples import Sample
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.models.location import embedded_base
from emocaliber.stages.answer_paths import AnswerPaths, Paths, paths_of
from emocaliber.stages.calibrate.greedy import AnswerReader, greedy_answers
from emocaliber.stages.examples import TrainingExample
from emocaliber.stages.soft_targets import SoftTargetCollator, field_tensors, option_log_probs
from emocaliber.stages.targets import spread_over_levels
from tests.stages.families import qwen25_vl, smolvlm

ANSWER = "<answer>happy</answer><confidence>0.85</confidence>"
TEMPLATE = load_template("label-confidence")


@pytest.fixture(scope="module")
def digits() -> AnswerPaths:
    return AnswerPaths(qwen25_vl()[1], TEMPLATE)


def test_single_tokens_are_one_choice_among_all_options() -> None:
    paths = AnswerPaths(AutoProcessor.from_pretrained(embedded_base()), TEMPLATE)
    for field in (paths.levels(ANSWER), paths.labels(ANSWER, KAOMOJI_10.labels)):
        assert {len(steps) for steps in field.steps} == {1}
        assert len({position for steps in field.steps for position, _ in steps}) == 1
        assert field.siblings == tuple((k,) for k in range(len(field.steps)))


def test_digits_are_told_apart_as_far_as_the_written_ones_reach(digits: AnswerPaths) -> None:
    paths = digits.levels(ANSWER)
    together = {tuple(LEVEL_TEXTS[k] for k in group) for group in paths.siblings}
    assert ("0.85",) in together
    assert ("0.80",) in together
    assert ("1.00",) in together
    assert ("0.60", "0.65") in together
    assert len(together) == 9 + 2 + 1


def test_a_label_that_begins_another_is_told_apart_by_what_follows(digits: AnswerPaths) -> None:
    paths = digits.labels("<answer>joy</answer><confidence>0.85</confidence>", ("joy", "joyful"))
    assert paths.siblings == ((0,), (1,))
    assert [len(steps) for steps in paths.steps] == [1, 1]


def test_an_answer_that_is_none_of_the_options_is_refused(digits: AnswerPaths) -> None:
    with pytest.raises(UserError, match="is not one of happy, sad"):
        digits.labels("<answer>joy</answer><confidence>0.85</confidence>", ("happy", "sad"))
    with pytest.raises(ValueError, match="none of the options"):
        paths_of([1, 2], [[1, 3]])


@pytest.mark.parametrize("build", [qwen25_vl, smolvlm])
def test_the_tokens_are_those_that_the_trainer_sees(build: Any) -> None:
    processor = build()[1]
    question, answer = messages("?", ANSWER)
    text = apply_chat_template({"prompt": [question], "completion": [answer]}, processor)["completion"]
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert AnswerPaths(processor, TEMPLATE).tokens(ANSWER) == tuple(ids)


def chain(paths: Paths, length: int, vocabulary: int, seed: int = 0) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Random next-token distributions along an answer, and one field's tensors with spread-out targets."""
    logs = torch.randn(1, length, vocabulary, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
    target = spread_over_levels(0.62, 0.2)
    return logs, field_tensors([paths], [target], torch.tensor([0]))


def test_the_options_share_what_the_model_gives_them_and_no_more(digits: AnswerPaths) -> None:
    paths = digits.levels(ANSWER)
    logs, field = chain(paths, 20, 384)
    tokens = digits.tokens(ANSWER)
    normaliser = torch.zeros(logs.shape[:2])
    probabilities = option_log_probs(logs, normaliser, field, torch.zeros(1, 1, dtype=torch.long))[0].exp()
    assert float(probabilities.sum()) <= 1
    eights = [k for k, text in enumerate(LEVEL_TEXTS) if text.startswith("0.8")]
    steps = [logs[0, 10, tokens[10]], logs[0, 12, tokens[12]], logs[0, 13, tokens[13]]]
    assert float(probabilities[eights[1]].log()) == pytest.approx(float(sum(steps)), abs=1e-5)
    sixes = [k for k, text in enumerate(LEVEL_TEXTS) if text.startswith("0.6")]
    first = paths.steps[sixes[0]][-1]
    expected = float(logs[0, 10, tokens[10]] + logs[0, first[0], first[1]])
    assert math.log(float(probabilities[sixes].sum())) == pytest.approx(expected, abs=1e-5)
    shares = field["targets"][0, sixes]
    assert torch.allclose(probabilities[sixes] / probabilities[sixes].sum(), shares / shares.sum(), atol=1e-5)


def test_the_mean_level_is_known_to_less_than_one_level_unless_1_is_written(digits: AnswerPaths) -> None:
    for text in LEVEL_TEXTS[:-1]:
        groups = digits.levels(ANSWER.replace("0.85", text)).siblings
        assert max(max(group) - min(group) for group in groups) == 1


def row(completion: str, sample: Sample) -> dict[str, Any]:
    example = TrainingExample(sample, completion, level_target=spread_over_levels(0.9, 0.05), correct=1.0)
    question, answer = messages("?", completion)
    return {"prompt": [question], "completion": [answer], "images": [Image.new("RGB", (56, 28))], "example": example}


def test_where_the_mean_is_learned_0_95_is_written_for_1_and_greedy_levels_are_walked_to() -> None:
    """An untrained model's level, found by the walk, is the one that its own greedy decoding among levels gives."""
    model, processor = qwen25_vl()
    inner = DataCollatorForVisionLanguageModeling(processor, max_length=None, completion_only_loss=True)
    collator = SoftTargetCollator(inner, AnswerPaths(processor, TEMPLATE))
    sample = Sample("1", b"", "t", ("happy", "sad"), "happy", "train", "g", "1")
    rows = [row(ANSWER.replace("0.85", text), sample) for text in ("1.00", "0.85", "0.10")]
    batch = collator(rows)
    assert "0.95" in processor.tokenizer.decode(batch["input_ids"][0])
    stated = [
        answer.confidence for answer in greedy_answers(model.eval(), rows, AnswerReader(processor, collator.paths))
    ]
    assert len(set(stated)) == 1  # what is written before the level is the same in all rows
    scores = [level_score(model, processor, ANSWER.replace("0.85", text)) for text in LEVEL_TEXTS]
    assert f"{stated[0]:.2f}" == LEVEL_TEXTS[max(range(21), key=scores.__getitem__)]


@torch.inference_mode()
def level_score(model: Any, processor: Any, completion: str) -> tuple[float, ...]:
    """The logits of the digits in turn: comparing such tuples is greedy decoding."""
    texts = [processor.apply_chat_template(messages("?", completion), tokenize=False)]
    inputs = processor(text=texts, images=[[Image.new("RGB", (56, 28))]], return_tensors="pt")
    ids = inputs["input_ids"][0].tolist()
    digits = [n for n in range(len(ids)) if processor.tokenizer.decode([ids[n]]).isdigit()][-3:]
    logits = model(**inputs).logits[0]
    return tuple(float(logits[n - 1, ids[n]]) for n in digits)
