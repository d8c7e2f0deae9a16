"""The transformers engine against a plain forward pass: batching, padding and tokenisation change no probability."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration

from emocaliber.core.prompting import LEVEL_TEXTS, load_template, messages
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.generation.engine import Choice, Request
from emocaliber.generation.transformers_engine import TransformersEngine

LABELS = KAOMOJI_10.labels
LONG_LABELS = ("awe", "contentment", "content", "happy")
PROMPTS = [load_template(name).render(LABELS) for name in ("label", "label-confidence")]


@pytest.fixture(scope="module")
def engine(random_model: Path) -> TransformersEngine:
    return TransformersEngine(random_model, batch_size=3, max_new_tokens=5)


@pytest.fixture(scope="module")
def requests(pictures: list[Image.Image]) -> list[Request]:
    return [Request(str(n), picture, PROMPTS[n % 2]) for n, picture in enumerate(pictures)]


def plain_log_probability(directory: Path, request: Request, prefix: str, continuation: str) -> float:
    """One sample, no padding, no batch, no cache: the sum over every token after the prompt and the prefix."""
    processor = AutoProcessor.from_pretrained(directory)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(directory, dtype=torch.float32)
    chat = processor.apply_chat_template(messages(request.prompt), tokenize=False, add_generation_prompt=True)
    before, answered = (
        processor(text=[chat + text], images=[request.image], return_tensors="pt")
        for text in (prefix, prefix + continuation)
    )
    start = before["input_ids"].shape[1]
    assert torch.equal(answered["input_ids"][:, :start], before["input_ids"])
    with torch.inference_mode():
        logs = torch.log_softmax(model(**answered).logits[0], dim=-1)
    ids = answered["input_ids"][0]
    return float(sum(logs[place - 1, ids[place]] for place in range(start, len(ids))))


def test_single_token_options_score_as_in_a_plain_forward_pass(
    engine: TransformersEngine, requests: list[Request], random_model: Path
) -> None:
    scores = engine.score_continuations(requests, "<answer>", LABELS)
    assert scores.shape == (7, 10)
    for row in (0, 3, 6):
        plain = [plain_log_probability(random_model, requests[row], "<answer>", label) for label in LABELS]
        assert np.allclose(scores[row], plain, atol=1e-4)


def test_options_of_several_tokens_score_as_in_a_plain_forward_pass(
    engine: TransformersEngine, requests: list[Request], random_model: Path
) -> None:
    options = [label + "</answer>" for label in LONG_LABELS]
    scores = engine.score_continuations(requests[:3], "<answer>", options)
    for row in range(3):
        plain = np.array([plain_log_probability(random_model, requests[row], "<answer>", text) for text in options])
        assert np.allclose(scores[row] - scores[row].max(), plain - plain.max(), atol=1e-4)


def test_answers_do_not_depend_on_the_batch(
    engine: TransformersEngine, requests: list[Request], random_model: Path
) -> None:
    alone = TransformersEngine(random_model, batch_size=1, max_new_tokens=5)
    assert [response.text for response in engine.generate(requests)] == [r.text for r in alone.generate(requests)]


def test_choices_of_the_generating_pass_equal_those_of_a_scoring_pass(
    engine: TransformersEngine, requests: list[Request]
) -> None:
    compared = 0
    for request, response in zip(requests, engine.generate(requests), strict=True):
        tokenizer = engine.processor.tokenizer
        first = tokenizer.decode(tokenizer(response.text)["input_ids"][:1])
        place = response.text.rfind(first) + len(first)
        if "\ufffd" in response.text[:place]:
            continue  # bytes that are no text cannot be asked about as text
        question = Request(
            request.sample_id, request.image, request.prompt, (Choice(first, LABELS), Choice("absent", LABELS))
        )
        stated, absent = engine.generate([question])[0].choices
        assert absent is None
        assert np.allclose(stated, engine.score_continuations([request], response.text[:place], LABELS)[0], atol=1e-4)
        compared += 1
    assert compared >= 3


def test_long_options_are_scored_with_the_first_token_of_their_ending(
    engine: TransformersEngine, requests: list[Request], random_model: Path
) -> None:
    question = Request("0", requests[0].image, requests[0].prompt, (Choice("", LONG_LABELS, "</answer>"),))
    response = engine.generate([question])[0]
    for label, scored in zip(LONG_LABELS, response.choices[0], strict=True):
        plain = plain_log_probability(random_model, question, response.text, f"{label}</answer>")
        assert scored == pytest.approx(plain, abs=1e-3)  # the whole ending is one token of this tokenizer


def test_options_of_several_tokens_score_alike_in_any_batch(
    engine: TransformersEngine, requests: list[Request], random_model: Path
) -> None:
    """Pictures of two sizes and prompts of two lengths side by side: the cached beginnings are never mixed up."""
    roomy = TransformersEngine(random_model, batch_size=64, max_new_tokens=5)
    prefixes = ["<answer>", "It is late. <answer>"] * 3 + [""]
    scores = [each.score_continuations(requests, prefixes, LONG_LABELS, "</answer>") for each in (engine, roomy)]
    assert np.allclose(scores[0], scores[1], atol=1e-4)
    plain = plain_log_probability(random_model, requests[1], prefixes[1], LONG_LABELS[1] + "</answer>")
    assert scores[0][1, 1] == pytest.approx(plain, abs=1e-3)


def test_a_request_that_breaks_its_batch_leaves_the_others_answers(
    engine: TransformersEngine, requests: list[Request], pictures: list[Image.Image]
) -> None:
    broken = Request("broken", pictures[0], "two pictures <|image_pad|>")
    responses = engine.generate([*requests[:2], broken, *requests[2:]])
    assert [response.finish_reason == "engine error" for response in responses] == [False, False, True, *[False] * 5]
    assert responses[2].error
    texts = [response.text for response in engine.generate(requests)]
    assert [response.text for response in responses if response.sample_id != "broken"] == texts


def test_what_is_cut_by_the_length_says_so(engine: TransformersEngine, requests: list[Request]) -> None:
    for response in engine.generate(requests):
        assert (response.finish_reason == "length") == (response.tokens == 5 and "<|im_end|>" not in response.text)


def test_levels_are_single_tokens_after_their_tag(engine: TransformersEngine, requests: list[Request]) -> None:
    scores = engine.score_continuations(requests, "<answer>happy</answer><confidence>", LEVEL_TEXTS)
    assert scores.shape == (7, 21)
    assert (np.exp(scores).sum(axis=1) < 1).all()
