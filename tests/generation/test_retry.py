"""Asking again: the more confident answer wins, and everything that was asked is counted."""

from pathlib import Path

import pytest
from PIL import Image

from emocaliber.core.prompting import load_template
from emocaliber.generation.asking_again import RetryingEngine, better
from emocaliber.generation.engine import ENGINE_ERROR, Request, Response
from emocaliber.generation.transformers_engine import TransformersEngine
from emocaliber.reading import read_response

LABELS = ("happy", "sad")
BOTH = load_template("label-confidence")
REQUEST = Request("1", Image.new("RGB", (56, 56)), BOTH.render(LABELS), candidates=LABELS)


def answer(confidence: float, tokens: int = 7) -> Response:
    return Response("1", BOTH.write(label="sad", confidence=confidence), "stop", tokens)


UNREADABLE, UNSURE = Response("1", "no idea", "stop", 2), Response("1", "<answer>sad</answer>", "stop", 4)
FAILED = Response("1", "", ENGINE_ERROR, error="out of memory")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (answer(0.4), answer(0.6), answer(0.6)),
        (answer(0.6), answer(0.4), answer(0.6)),
        (answer(0.5, 7), answer(0.5, 8), answer(0.5, 7)),
        (UNREADABLE, answer(0.0), answer(0.0)),
        (answer(0.0), UNREADABLE, answer(0.0)),
        (UNREADABLE, UNSURE, UNSURE),
        (FAILED, UNREADABLE, UNREADABLE),
    ],
)
def test_the_more_confident_answer_is_kept_and_both_are_paid_for(
    first: Response, second: Response, expected: Response
) -> None:
    chosen = better(REQUEST, first, second)
    assert (chosen.text, chosen.finish_reason) == (expected.text, expected.finish_reason)
    assert (chosen.tokens, chosen.questions) == (first.tokens + second.tokens, 2)


def test_what_cannot_be_read_is_asked_again_as_often_as_allowed(random_model: Path) -> None:
    drawing = TransformersEngine(random_model, max_new_tokens=3, temperature=1.0)
    once, thrice = drawing.generate([REQUEST])[0], RetryingEngine(drawing, threshold=0.5, retries=2)
    response = thrice.generate([REQUEST])[0]
    assert (once.questions, response.questions) == (1, 3)
    assert response.tokens > once.tokens
    assert thrice.name != drawing.name


@pytest.mark.slow
def test_only_unsure_answers_are_asked_again_and_none_gets_less_sure(
    tuned_engine: TransformersEngine, questions: list[Request]
) -> None:
    def stated(request: Request, response: Response) -> float:
        reading = read_response(response.text, request.candidates, finish_reason=response.finish_reason)
        return reading.confidence or 0.0 if reading.label else 0.0

    plain = tuned_engine.generate(questions)
    retried = RetryingEngine(tuned_engine, threshold=0.5, retries=2).generate(questions)
    assert len({answer.questions for answer in retried}) > 1
    for request, first, last in zip(questions, plain, retried, strict=True):
        before = stated(request, first)
        assert stated(request, last) >= before
        assert (last == first) if before >= 0.5 else last.questions > 1
